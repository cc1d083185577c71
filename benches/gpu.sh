#!/usr/bin/env bash
# All checks and measurements that need a GPU, on a bare machine with a driver and no toolchain or network.
#
#     benches/gpu.sh build [FOLDER]            # where cargo is: makes FOLDER (target/gpu) with binaries and this script
#     FOLDER/gpu.sh run [SCALE] [OUT] [GPU]    # where the GPU is: tests, then figures, into OUT (gpu-results)
#
# SCALE says how many times smaller than DeepSeek-V4.1-Flash's the tables are: 20 is 2 tables of 5 GB, 4 of 25 GB. They
# are on the drive twice, as checkpoint and pack, and once in memory. A step that fails does not keep others from running.
set -euo pipefail

build() {
    cd "$(dirname "$0")/.."
    local folder=${1:-target/gpu} release=${CARGO_TARGET_DIR:-target}/release
    if [ -e "$folder" ] && [ ! -e "$folder/gpu.sh" ]; then
        echo "$folder is there and was not made by this script" >&2
        exit 2
    fi
    rm -rf "$folder"
    mkdir -p "$folder/vectors"
    cargo build --release --locked -p engram-pack -p engram-bench
    cp "$release/engram-pack" "$release/engram-bench" benches/gpu.sh "$folder"
    # Tests find the packs by the path they were built with, or by a variable.
    cp -r format-spec/vectors/{deepseek,demo,qwen,longcat,long-rows} "$folder/vectors"
    local test
    for test in "--test ring" "--test gather" --lib; do
        # shellcheck disable=SC2086
        cp "$(cargo test --release --locked -p engram-cuda $test --no-run --message-format=json |
            grep -o '"executable":"[^"]*"' | cut -d'"' -f4 | tail -n 1)" "$folder/test-${test##*[ -]}"
    done
    strip --strip-debug "$folder"/engram-* "$folder"/test-*
    du -sh "$folder"
}

failed=()
data=
# Runs a step for ten minutes at most, prints it to a file too, and remembers if it fails.
step() {
    local name=$1
    shift
    echo "== $*"
    timeout 600 "$@" 2>&1 | tee "$out/$name.txt" || failed+=("$name")
}

# As step, for a command that also reports as JSON, into a file.
report() {
    local name=$1
    shift
    echo "== $*"
    timeout 600 "$@" --json="$out/$name.json" 2>&1 | tee "$out/$name.txt" || failed+=("$name")
}

run() {
    cd "$(dirname "$0")"
    local scale=${1:-20} gpu=${3:-0}
    out=${2:-gpu-results}
    mkdir -p "$out"
    # For tests and benchmarks alike it is then device 0. Streams that share a queue could wait for each other.
    export CUDA_VISIBLE_DEVICES=$gpu CUDA_DEVICE_MAX_CONNECTIONS=32 CUDA_MODULE_LOADING=EAGER
    export ENGRAM_VECTORS=$PWD/vectors ENGRAM_NEEDS_GPU=1
    step machine nvidia-smi --format=csv \
        --query-gpu=name,driver_version,pcie.link.gen.max,pcie.link.width.max,memory.total
    { uname -r && grep -m 1 'model name' /proc/cpuinfo && nproc && grep MemTotal /proc/meminfo; } >>"$out/machine.txt"
    step doctor ./engram-pack doctor
    local test
    for test in ring gather lib; do
        # Most of the library's own tests need its source.
        local chosen=()
        [ "$test" != lib ] || chosen=(a_gpu_decodes)
        step "test-$test" "./test-$test" --nocapture --test-threads=1 "${chosen[@]}"
        if command -v compute-sanitizer >/dev/null; then
            step "sanitizer-$test" compute-sanitizer --error-exitcode 1 "./test-$test" --test-threads=1 "${chosen[@]}"
        else
            echo "no compute-sanitizer: memory of kernels was not checked" | tee "$out/sanitizer-$test.txt"
        fi
    done

    data=$(mktemp -d "${TMPDIR:-/var/tmp}/engram-gpu-XXXXXX")
    trap 'rm -rf "$data"' EXIT
    step synth ./engram-pack synth --scheme deepseek-v4.1-flash --scale "$scale" --output "$data/checkpoint"
    step build ./engram-pack build "$data/checkpoint" -o "$data/pack"
    rm -rf "$data/checkpoint"
    report pcie ./engram-bench pcie "$data/pack" --plot "$out/pcie.svg"
    report overlap ./engram-bench overlap "$data/pack"
    report overlap-drive ./engram-bench overlap "$data/pack" --drive
    if [ ${#failed[@]} -gt 0 ]; then
        echo "failed: ${failed[*]}" | tee "$out/failed.txt"
        exit 1
    fi
}

case ${1:-} in
build | run) "$@" ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
