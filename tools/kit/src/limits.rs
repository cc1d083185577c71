//! What the system allows a command.

use engram_io::Limit;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Lets this process have as many files open as its hard limit says.
///
/// The soft limit is low for the sake of programs that call `select`, which a command of ours does not.
pub fn raise_open_files() {
    if let Some(Limit { hard, .. }) = Limit::open_files() {
        let limit = Rlimit {
            current: hard,
            maximum: hard,
        };
        // Where the system refuses, opening one file too many says what the limit is.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
