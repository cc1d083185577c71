//! Names the shared library after its binary interface, so that programs find the one that they were linked with.

fn main() {
    // The number is `ENGRAM_ABI`; a test compares them.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libengram.so.1");
    println!("cargo::rerun-if-changed=build.rs");
}
