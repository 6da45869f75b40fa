#!/bin/sh
# The whole pipeline on this machine: every shard, the merge, and beside it one run that does everything. The results must
# be the same bytes. Variables as of shard.sh; SHARDS defaults to 3, OUT to a temporary folder.
set -eu
here=$(dirname "$0")
: "${KERNELS:?}"
: "${SHARDS:=3}"
: "${OUT:=$(mktemp -d)}"
export KERNELS SHARDS OUT
# Unresolved relocations (1) are no failure of the pipeline.
allow_unresolved() {
	"$@" || [ $? -eq 1 ]
}
i=0
while [ "$i" -lt "$SHARDS" ]; do
	JOB_COMPLETION_INDEX=$i allow_unresolved sh "$here/shard.sh"
	i=$((i + 1))
done
sh "$here/merge.sh"
mkdir -p "$OUT/single"
JOB_COMPLETION_INDEX=0 SHARDS=1 OUT="$OUT/single" allow_unresolved sh "$here/shard.sh"
cmp "$OUT/btf.pack" "$OUT/single/shard-0.pack"
echo "$OUT/btf.pack: $SHARDS shards and one run gave the same bytes"
