//! Building, attaching, verifying and looking up on odd file systems, with system calls refused and under limits.
//!
//! Each cell of the matrix is one such system. In each the rows must be those of the checkpoint, or the refusal must be
//! clear: an error on standard error, exit code 1, no panic, no hang, and nothing left that keeps the next try from
//! running. Cells that the machine cannot make are skipped and named. Everything happens in a mount namespace and on a
//! tmpfs of its own, so nothing stays behind.
//!
//! The program is its own helper: by `--under` it puts limits on itself and becomes the command that follows, by
//! `--look-up` it compares rows, by `--serve` it is a file system.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod cells;
mod folders;
mod fuse;
mod lookups;
mod outcome;
mod table;
mod under;

use std::{
    env,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

/// Says that the process is in a mount namespace of its own.
const INSIDE: &str = "ENGRAM_MATRIX_INSIDE";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--under", rest @ ..] => under::run(rest),
        ["--look-up", rest @ ..] => lookups::run(rest),
        ["--serve", source, mount, fault] => {
            fuse::serve(Path::new(source), Path::new(mount), fault)
        }
        // What else comes is for the usual test harness: a filter for names of tests is one for cells.
        _ if args.contains(&"--list") => ExitCode::SUCCESS,
        _ if env::var_os(INSIDE).is_some() => table::run(&args),
        _ => enter(&args),
    }
}

/// Goes on in a mount namespace of its own, where there is one to be had.
fn enter(args: &[&str]) -> ExitCode {
    let own = env::current_exe().unwrap();
    for rights in [&["--mount"][..], &["--map-root-user", "--mount"]] {
        let flags = [rights, &["--propagation", "private"]].concat();
        let try_it = Command::new("unshare").args(&flags).arg("true").output();
        if try_it.is_ok_and(|tried| tried.status.success()) {
            let mut command = Command::new("unshare");
            let error = command
                .args(&flags)
                .arg(&own)
                .args(args)
                .env(INSIDE, "1")
                .exec();
            println!("cannot run unshare: {error}");
        }
    }
    println!("skipped: no mount namespace can be had here");
    table::run(args)
}
