//! What the system allows a command.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process have as many files open as its hard limit says. The soft limit is low for the sake of programs that
/// call `select`, which a command of ours does not.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where the system refuses, opening one file too many says what the limit is.
    let _ = setrlimit(Resource::Nofile, limit);
}
