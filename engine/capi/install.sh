#!/bin/sh
# Builds libengram and installs it, its header, a pkg-config file and a CMake package.
#
#     engine/capi/install.sh PREFIX [BUILT]
#
# With BUILT, the libraries in that folder are installed instead, such as those that cargo has built for another machine
# (target/TRIPLE/release). DESTDIR is put before every path, for those who make packages.
set -eu

usage="usage: install.sh PREFIX [BUILT]"
prefix=$(realpath -m "${1:?$usage}")
built=${2:+$(realpath "$2")}

cd "$(dirname "$0")"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' ../../Cargo.toml)
abi=$(sed -n 's/^#define ENGRAM_ABI \([0-9]*\)$/\1/p' include/engram.h)

if [ -z "$built" ]; then
    cargo build --locked --release --package engram-capi --lib
    target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    built=$target/release
fi

root=${DESTDIR:-}$prefix
install -d "$root/include" "$root/lib/pkgconfig" "$root/lib/cmake/engram"
install -m 644 include/engram.h "$root/include/engram.h"
install -m 644 "$built/libengram_capi.a" "$root/lib/libengram.a"
install -m 755 "$built/libengram_capi.so" "$root/lib/libengram.so.$version"
ln -sf "libengram.so.$version" "$root/lib/libengram.so.$abi"
ln -sf "libengram.so.$abi" "$root/lib/libengram.so"

fill() {
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@VERSION@|$version|g" -e "s|@ABI@|$abi|g" "install/$1.in" >"$root/$2/$1"
}
fill engram.pc lib/pkgconfig
fill engram-config.cmake lib/cmake/engram
fill engram-config-version.cmake lib/cmake/engram
