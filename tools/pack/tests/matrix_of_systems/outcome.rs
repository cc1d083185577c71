//! What came of one step of a cell.

use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The time after which a step hangs. It takes some tens of milliseconds.
const LIMIT: Duration = Duration::from_mins(1);
/// The exit code for rows that differ, and of `engram-pack verify` for damage.
pub(crate) const WRONG: u8 = 3;

#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The work is done, the rows are those of the checkpoint.
    Same,
    /// A clear error.
    Refused(String),
    /// Other rows, or damage where there is none.
    Wrong(String),
    /// A panic, a signal, or an exit code that means nothing.
    Crashed(String),
    Hung,
    /// The cell does not ask for it.
    NotDone,
}

impl Outcome {
    /// Runs `command`, which is killed if it takes too long.
    pub(crate) fn of(command: &mut Command) -> Self {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let told = thread::spawn(move || {
            let mut told = Vec::new();
            out.read_to_end(&mut told).map(|_| told)
        });
        let said = thread::spawn(move || {
            let mut said = Vec::new();
            err.read_to_end(&mut said).map(|_| said)
        });
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > LIMIT {
                // Not waited for: one that waits for a file system may not even take this signal.
                child.kill().unwrap();
                return Self::Hung;
            }
            thread::sleep(Duration::from_millis(2));
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        let told = text(told.join().unwrap().unwrap());
        let said = text(said.join().unwrap().unwrap());
        let error = said.lines().find(|line| line.starts_with("error: "));
        match (status.code(), error) {
            _ if said.contains("panicked") => Self::Crashed(said),
            (Some(0), _) => Self::Same,
            (Some(1), Some(error)) => Self::Refused(error.into()),
            // `verify` tells what it could not read beside the rest of its report.
            (Some(1), None) if told.contains("cannot be read: ") => Self::Refused(told),
            (Some(code), _) if code == i32::from(WRONG) => Self::Wrong(format!("{told} {said}")),
            (None, _) => Self::Crashed(format!("signal {:?}: {said}", status.signal())),
            (code, _) => Self::Crashed(format!("exit code {code:?}: {said}")),
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Refused(_) => "refused",
            Self::Wrong(_) => "WRONG",
            Self::Crashed(_) => "CRASHED",
            Self::Hung => "HUNG",
            Self::NotDone => "-",
        }
    }

    /// What was said, in one line.
    pub(crate) fn words(&self) -> Option<String> {
        let (Self::Refused(said) | Self::Wrong(said) | Self::Crashed(said)) = self else {
            return None;
        };
        Some(said.lines().take(4).collect::<Vec<_>>().join(" / "))
    }

    /// Whether this is right where the work may be refused, or not.
    pub(crate) fn is_right(&self, may_refuse: bool) -> bool {
        match self {
            Self::Same | Self::NotDone => true,
            Self::Refused(_) => may_refuse,
            Self::Wrong(_) | Self::Crashed(_) | Self::Hung => false,
        }
    }
}
