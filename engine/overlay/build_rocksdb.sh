#!/usr/bin/env bash
# build_rocksdb.sh DEST: compiles the RocksDB that the crate librocksdb-sys bundles to DEST/librocksdb.a, unless it is
# there already. Then build and test the overlay with ROCKSDB_LIB_DIR=DEST ROCKSDB_STATIC=1.
#
# The crate's own build compiles each of some 340 files alone, and most of the time goes into the same headers again.
# Here several files are one translation unit, which RocksDB's own build offers as `make unity.a`: six minutes of one
# core. A group that does not compile as one is compiled file by file.
set -euo pipefail
dest=$(mkdir -p "${1:?usage: build_rocksdb.sh DEST}" && cd "$1" && pwd)
cd "$(dirname "$0")"
cargo=${CARGO:-cargo}
platform=$(uname -m)-unknown-linux-gnu
crate=$("$cargo" metadata --locked --format-version 1 --filter-platform "$platform" --features rocksdb |
    grep -o '"manifest_path":"[^"]*/librocksdb-sys-[^"]*/Cargo.toml"' | head -n 1 | cut -d '"' -f 4)
crate=${crate%/Cargo.toml}
version=${crate##*/}
if [ -f "$dest/librocksdb.a" ] && [ "$(cat "$dest/version" 2>/dev/null)" = "$version" ]; then
    exit
fi
work=$dest/work
rm -rf "$work" "$dest/version"
mkdir -p "$work"

# The flags of the crate's build.rs, with less optimisation.
flags=(-std=c++20 -O1 -fPIC -w -DNDEBUG -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DOS_LINUX -DROCKSDB_PLATFORM_POSIX
    -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT
    -DROCKSDB_RANGESYNC_PRESENT -include cstdint -I"$crate/rocksdb/include" -I"$crate/rocksdb" -I"$crate")
sources=("$crate/build_version.cc")
while read -r source; do
    [ "$source" = util/build_version.cc ] || sources+=("$crate/rocksdb/$source")
done <"$crate/rocksdb_lib_sources.txt"

of_a_group=16
for ((first = 0; first < ${#sources[@]}; first += of_a_group)); do
    printf '#include "%s"\n' "${sources[@]:first:of_a_group}" >"$work/group$((first / of_a_group)).cc"
done

compile() { # GROUP.cc: objects beside it
    local group=$1 index=0 source
    "${CXX:-c++}" "${flags[@]}" -c "$group" -o "${group%.cc}.o" 2>"${group%.cc}.log" && return
    echo "$(basename "$group") does not compile as one: file by file" >&2
    while read -r source; do
        "${CXX:-c++}" "${flags[@]}" -c "$source" -o "${group%.cc}.$index.o"
        index=$((index + 1))
    done < <(cut -d '"' -f 2 "$group")
}
export -f compile
# Arrays are not exported; the function is told its flags by a declaration.
export FLAGS_OF_COMPILE="$(declare -p flags)"
printf '%s\0' "$work"/group*.cc |
    xargs -0 -n 1 -P "$(nproc)" bash -c 'eval "$FLAGS_OF_COMPILE"; set -e; compile "$0"'
rm -f "$dest/librocksdb.a"
ar crs "$work/librocksdb.a" "$work"/*.o
mv "$work/librocksdb.a" "$dest/librocksdb.a"
rm -rf "$work"
echo "$version" >"$dest/version"
