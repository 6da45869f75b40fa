#!/bin/sh
# One machine's part of the work: writes $OUT/shard-<i>.pack.
#
#   KERNELS               folder or files, the same for every machine
#   OBJECTS               BPF objects, separated by spaces; empty for whole BTF
#   OUT                   folder of the results
#   SHARDS                number of machines
#   JOB_COMPLETION_INDEX  number of this machine, from 0 (Kubernetes sets it; elsewhere set it from the matrix)
#   LCC_BTF               the program, default lcc-btf
#
# Exit status as of `lcc-btf gen`: 1 where a relocation is unresolved, 2 where an input failed. The pack has the others.
# To go on after an interruption, run it again with the same $OUT.
set -eu
: "${KERNELS:?}" "${OUT:?}" "${SHARDS:?}" "${JOB_COMPLETION_INDEX:?}"
mkdir -p "$OUT"
set -- --shard "$JOB_COMPLETION_INDEX/$SHARDS" --pack "$OUT/shard-$JOB_COMPLETION_INDEX.pack"
for object in ${OBJECTS:-}; do
	set -- "$@" --obj "$object"
done
# KERNELS may be several words.
# shellcheck disable=SC2086
exec "${LCC_BTF:-lcc-btf}" gen $KERNELS "$@"
