#!/usr/bin/env bash
# Packing and verifying against cp and cat of the same bytes, in turns.
#
#     benches/pack_against_cp.sh [SCALE] [ROUNDS] [FOLDER]
#
# SCALE 100 makes a checkpoint of 2 GB. Each round copies the two files that hold the tables and syncs them, then
# builds a pack (which syncs every shard itself), verifies it, and reads the pack's bytes with cat.
set -euo pipefail
scale=${1:-100} rounds=${2:-5}
folder=$(mktemp -d "${3:-${TMPDIR:-/tmp}}/engram-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")/.."
cargo build --release --quiet --bin engram-pack
pack=${CARGO_TARGET_DIR:-target}/release/engram-pack

"$pack" synth --scheme deepseek-v4.1-flash --scale "$scale" --output "$folder/checkpoint"
mib=$(($(du -sb "$folder/checkpoint" | cut -f1) >> 20))

seconds() {
    local start=$EPOCHREALTIME
    "$@" >/dev/null
    echo "$start $EPOCHREALTIME" | awk '{ printf "%.3f", $2 - $1 }'
}
copy() {
    cp "$folder"/checkpoint/*.safetensors "$folder/copy/"
    sync "$folder"/copy/* "$folder/copy"
}
read_all() { cat "$folder"/pack/*/*.shard; }

echo "round cp_s build_s verify_s cat_s (checkpoint of $mib MiB, in the page cache)"
for round in $(seq "$rounds"); do
    rm -rf "$folder/copy" "$folder/pack"
    mkdir "$folder/copy"
    sync
    cp_s=$(seconds copy)
    rm -rf "$folder/copy"
    sync
    build_s=$(seconds "$pack" build "$folder/checkpoint" -o "$folder/pack")
    verify_s=$(seconds "$pack" verify "$folder/pack")
    cat_s=$(seconds read_all)
    echo "$round $cp_s $build_s $verify_s $cat_s"
done | tee "$folder/times"
median() { cut -d' ' -f"$1" "$folder/times" | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
awk -v mib="$mib" -v cp="$(median 2)" -v build="$(median 3)" -v verify="$(median 4)" -v cat="$(median 5)" 'BEGIN {
    printf "medians: cp %.0f MiB/s, build %.0f MiB/s (%.2f of cp); verify %.0f MiB/s (%.2f of cat)\n",
           mib / cp, mib / build, cp / build, mib / verify, cat / verify }'
