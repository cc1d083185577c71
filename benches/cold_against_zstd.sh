#!/usr/bin/env bash
# Freezing and thawing packs against `zstd -T0` of the same files, in turns, and what is saved.
#
#     benches/cold_against_zstd.sh ROUNDS PACK...
#
# `zstd` gets the shards of the pack one after another, as a tar file would have them, at the same level and with frames
# of its own choice; it writes no seals' checks and no index. Both write to the folder of the packs and sync.
set -euo pipefail
rounds=$1
shift
cd "$(dirname "$0")/.."
bin=${ENGRAM_PACK:-${CARGO_TARGET_DIR:-target}/release/engram-pack}
level=${LEVEL:-3}

seconds() {
    local start=$EPOCHREALTIME
    "$@" >/dev/null
    echo "$start $EPOCHREALTIME" | awk '{ printf "%.3f", $2 - $1 }'
}
shards() { find "$1" -name '*.shard' | sort | xargs cat; }
compress() { shards "$1" | zstd -q -T0 "-$level" -o "$2"; sync "$2"; }
decompress() { zstd -q -d "$1" -o "$2"; sync "$2"; }

echo "pack round mib packed_bytes cold_bytes zstd_bytes freeze_s zstd_s thaw_s unzstd_s verify_s"
for pack in "$@"; do
    folder=$(mktemp -d "$(dirname "$pack")/cold-bench-XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    shards "$pack" >/dev/null
    packed=$(shards "$pack" | wc -c)
    for round in $(seq "$rounds"); do
        rm -rf "$folder"/*
        sync
        freeze_s=$(seconds "$bin" -q freeze "$pack" -o "$folder/cold" --level "$level")
        zstd_s=$(seconds compress "$pack" "$folder/all.zst")
        cold=$(find "$folder/cold" -name '*.cold' -printf '%s\n' | awk '{ all += $1 } END { print all }')
        zst=$(stat -c %s "$folder/all.zst")
        thaw_s=$(seconds "$bin" -q thaw "$folder/cold" -o "$folder/thawed")
        diff -r "$pack" "$folder/thawed"
        unzstd_s=$(seconds decompress "$folder/all.zst" "$folder/all")
        verify_s=$(seconds "$bin" -q verify "$folder/cold")
        echo "$(basename "$pack") $round $((packed >> 20)) $packed $cold $zst" \
            "$freeze_s $zstd_s $thaw_s $unzstd_s $verify_s"
    done
    rm -rf "$folder"
done
