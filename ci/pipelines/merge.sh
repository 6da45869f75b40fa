#!/bin/sh
# All machines' results as one: writes $OUT/btf.pack, the same bytes as one machine alone would have made, and checks it.
#
#   OUT      folder with the shards' results
#   SHARDS   number of machines: all of them must have delivered
#   LCC_BTF  the program, default lcc-btf
set -eu
: "${OUT:?}" "${SHARDS:?}"
set --
i=0
while [ "$i" -lt "$SHARDS" ]; do
	set -- "$@" "$OUT/shard-$i.pack"
	i=$((i + 1))
done
"${LCC_BTF:-lcc-btf}" merge "$@" --pack "$OUT/btf.pack"
exec "${LCC_BTF:-lcc-btf}" pack verify "$OUT/btf.pack"
