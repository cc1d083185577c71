#!/bin/sh
# Builds libggml-engram.so.
#
#     build.sh LLAMA_CPP [OUT]
#
# LLAMA_CPP is the source of the very llama.cpp that will load it; OUT the folder of the result, by default the current
# one. libengram is found by pkg-config (engine/capi/install.sh), and linked in as a whole.
set -eu
usage="usage: build.sh LLAMA_CPP [OUT]"
source=$(realpath "${1:?$usage}") out=$(realpath "${2:-.}")
cd "$(dirname "$0")"
library=$(pkg-config --variable=libdir engram)/libengram.a
# shellcheck disable=SC2046
${CXX:-g++} -std=c++17 -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden \
    -I"$source/ggml/include" -I"$source/ggml/src" $(pkg-config --cflags engram) \
    ggml-engram.cpp "$library" -Wl,--exclude-libs,ALL -lpthread -ldl -lm -o "$out/libggml-engram.so"
