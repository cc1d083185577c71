//! A build that cannot decompress says so, and names what it lacks.

// All crates of the workspace together have the feature; this crate alone has it not.
#![cfg(not(feature = "cold"))]

use engram::{Config, OpenError, Store, read_hasher, read_manifest};

#[test]
fn a_cold_pack_without_the_feature_is_named() {
    let pack = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../format-spec/vectors/cold/deepseek"
    );
    let refused = Store::open(pack, Config::new()).unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, OpenError::ColdNotBuilt { .. }), "{said}");
    assert!(
        said.contains("`cold`") && said.contains("engram-pack thaw"),
        "{said}"
    );
    // What is not in frames is read.
    assert!(read_manifest(pack).is_ok() && read_hasher(pack).is_ok());
}
