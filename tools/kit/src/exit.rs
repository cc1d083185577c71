//! What a command's exit code says.

use anyhow::Error;
use engram::LookupError;

/// Anything that kept the command from its work.
pub const FAILED: u8 = 1;
/// A command line that makes no sense.
pub const USAGE: u8 = 2;
/// Something that was read is damaged or missing.
pub const DAMAGED: u8 = 3;

/// Done, and nothing is wrong.
pub const DONE: u8 = 0;
/// The codes, for `--help`.
pub const HELP: &str = "\
Exit codes:
  0  done, and nothing is wrong
  1  it could not be done, or something could not be read, which says nothing of the pack itself
  2  wrong usage
  3  something is damaged or missing";

/// The code of a command that failed with `error`.
pub(crate) fn code_of(error: &Error) -> u8 {
    let is_damage = error.chain().any(|cause| {
        matches!(
            cause.downcast_ref(),
            Some(LookupError::Damaged { .. } | LookupError::DamagedCopy { .. })
        )
    });
    if is_damage { DAMAGED } else { FAILED }
}
