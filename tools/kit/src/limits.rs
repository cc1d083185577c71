//! What the system allows a command.

use std::sync::OnceLock;

use engram_io::Limit;
use rustix::process::{Resource, Rlimit, setrlimit};

/// What held before this process raised it.
static INHERITED: OnceLock<Option<Limit>> = OnceLock::new();

/// The files that this process could have open when it began, and so what other programs may; none where the system
/// does not say.
pub fn inherited_open_files() -> Option<Limit> {
    *INHERITED.get_or_init(Limit::open_files)
}

/// Lets this process have as many files open as its hard limit says.
///
/// The soft limit is low for the sake of programs that call `select`, which a command of ours does not.
pub fn raise_open_files() {
    if let Some(Limit { hard, .. }) = inherited_open_files() {
        let limit = Rlimit {
            current: hard,
            maximum: hard,
        };
        // Where the system refuses, opening one file too many says what the limit is.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
