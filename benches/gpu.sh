#!/usr/bin/env bash
# All checks and measurements that need a GPU, on a bare machine with a driver and no toolchain or network.
#
#     benches/gpu.sh build [FOLDER]            # where cargo is: makes FOLDER (target/gpu) with binaries and this script
#     FOLDER/gpu.sh run [SCALE] [OUT] [GPU]    # where the GPU is: tests, then figures, into OUT (gpu-results)
#
# SCALE says how many times smaller than DeepSeek-V4.1-Flash's the tables are: 20 is 2 tables of 5 GB, 4 of 25 GB. Each is
# on the drive as checkpoint and pack, and one pack in memory.
set -euo pipefail

build() {
    cd "$(dirname "$0")/.."
    local folder=${1:-target/gpu} release=${CARGO_TARGET_DIR:-target}/release
    rm -rf "$folder"
    mkdir -p "$folder/vectors"
    cargo build --release --locked --bin engram-pack --bin engram-bench
    cp "$release/engram-pack" "$release/engram-bench" benches/gpu.sh "$folder"
    # Tests find the packs by the path they were built with, or by this variable.
    cp -r format-spec/vectors/{deepseek,demo,qwen,longcat,long-rows} "$folder/vectors"
    local test
    for test in ring gather; do
        cp "$(cargo test --release --locked -p engram-cuda --test "$test" --no-run --message-format=json 2>/dev/null |
            grep -o '"executable":"[^"]*"' | cut -d'"' -f4 | tail -n 1)" "$folder/test-$test"
    done
    strip --strip-debug "$folder"/engram-* "$folder"/test-*
    du -sh "$folder"
}

run() {
    cd "$(dirname "$0")"
    local scale=${1:-20} out=${2:-gpu-results} gpu=${3:-0}
    mkdir -p "$out"
    {
        nvidia-smi --query-gpu=name,driver_version,pcie.link.gen.max,pcie.link.width.max,memory.total --format=csv
        uname -r
        lscpu | grep -E 'Model name|^CPU\(s\)'
        free -g | head -n 2
    } | tee "$out/machine.txt"
    local test sanitizer
    sanitizer=$(command -v compute-sanitizer || true)
    for test in ring gather; do
        ENGRAM_VECTORS=$PWD/vectors ENGRAM_NEEDS_GPU=1 "./test-$test" --nocapture 2>&1 | tee "$out/test-$test.txt"
        if [ -n "$sanitizer" ]; then
            ENGRAM_VECTORS=$PWD/vectors ENGRAM_NEEDS_GPU=1 "$sanitizer" --error-exitcode 1 "./test-$test" \
                2>&1 | tee "$out/sanitizer-$test.txt"
        fi
    done
    [ -n "$sanitizer" ] || echo "no compute-sanitizer: memory of kernels was not checked" | tee -a "$out/machine.txt"

    local data
    data=$(mktemp -d "${TMPDIR:-/tmp}/engram-gpu-XXXXXX")
    trap 'rm -rf "$data"' EXIT
    ./engram-pack synth --scheme deepseek-v4.1-flash --scale "$scale" --out "$data/checkpoint"
    ./engram-pack build "$data/checkpoint" -o "$data/pack"
    rm -rf "$data/checkpoint"
    ./engram-bench pcie --pack "$data/pack" --device "$gpu" --json "$out/pcie.json" --plot "$out/pcie.svg" |
        tee "$out/pcie.txt"
    local drive
    for drive in "" --drive; do
        ./engram-bench overlap --pack "$data/pack" --device "$gpu" $drive \
            --json "$out/overlap$drive.json" | tee "$out/overlap$drive.txt"
    done
}

case ${1:-} in
build | run) "$@" ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
