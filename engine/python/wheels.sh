#!/usr/bin/env bash
# Builds wheels for other machines: wheels.sh [FOLDER]. They need the C library of 2014 (manylinux2014, glibc 2.17) or
# a later one, on x86-64 and 64-bit Arm. zig links them, so that this machine's C library does not matter.
#
# Needs cargo with both targets (`rustup target add aarch64-unknown-linux-gnu`) and Python with pip.
set -euo pipefail
folder=$(realpath -m "${1:-dist}")
cd "$(dirname "$0")"

tools=${TMPDIR:-/tmp}/engram-wheel-tools
[ -x "$tools/bin/python" ] || python3 -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check maturin==1.16.0 ziglang==0.17.1
# maturin finds zig by this.
export PATH="$tools/bin:$PATH"

for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
    maturin build --release --locked --zig --compatibility manylinux_2_17 --target "$target" --out "$folder"
done
