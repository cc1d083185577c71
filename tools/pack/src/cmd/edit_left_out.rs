use std::ffi::OsString;

use anyhow::{Result, bail};
use engram_kit::envelope::Outcome;

/// Edit rows of a pack in an overlay (not in this build: it needs RocksDB)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whatever `edit` would take
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<OsString>,
}

impl Args {
    #[expect(clippy::unused_self, reason = "as other commands")]
    pub(crate) fn run(self) -> Result<Outcome> {
        bail!(
            "this engram-pack was built without overlays, which need RocksDB; build it by \
             `cargo build --release -p engram-pack --features overlay` (engine/overlay/README.md says what that takes)"
        )
    }
}
