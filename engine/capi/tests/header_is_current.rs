//! `include/engram.h` is what cbindgen makes of the sources.

use std::{env, fs, path::Path};

#[test]
fn header_is_current() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(crate_folder.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new()
        .with_crate(crate_folder)
        .with_config(config)
        .generate()
        .unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = crate_folder.join("include/engram.h");
    if env::var_os("ENGRAM_BLESS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "include/engram.h is not what the sources say; write it anew by \
         `ENGRAM_BLESS=1 cargo test -p engram-capi --test header_is_current`, and look at the change"
    );
}
