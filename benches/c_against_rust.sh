#!/usr/bin/env bash
# The C interface against the Rust one: the same calls for f32 rows, in turns.
#
#     benches/c_against_rust.sh PACK [ROUNDS] [OPTIONS]
#
# OPTIONS is the JSON that opens the pack. Rows of random ids in the pack's first layer, 24, 192, 1,536 and 16,320 a call.
set -euo pipefail
pack=$(realpath "$1") rounds=${2:-5} options=${3:-'{"reader": "memory"}'}
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
cargo build --release --quiet -p engram-capi
cargo build --release --quiet -p engram-criterion --example get_rows
cc -std=c11 -O2 -Iengine/capi/include engine/capi/examples/get_rows.c "$target/release/libengram_capi.a" \
    -lpthread -ldl -lm -o "$target/release/get_rows_c"
layer=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["scheme"]["layers"][0]["layer"])' "$pack/manifest.json")

rate() { "$@" | sed 's/.*: \([0-9.]*\) million.*/\1/'; }
echo "rows a call, million rows a second: rust c ratio"
for rows in 24 192 1536 16320; do
    for _ in $(seq "$rounds"); do
        rust=$(rate "$target/release/examples/get_rows" "$pack" "$options" "$layer" "$rows")
        c=$(rate "$target/release/get_rows_c" --time "$pack" "$options" "$layer" "$rows")
        echo "$rows $rust $c" | awk '{ printf "%d %.2f %.2f %.2f\n", $1, $2, $3, $3 / $2 }'
    done
done
