//! How a command begins and ends, the same for all: its options, what is told on the way, the report, the exit code.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::Mutex,
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Command, Parser};
use engram_io::{lock, publish_bytes};
use serde_json::Value;
use tracing::Level;

use crate::{
    console,
    envelope::{Envelope, Failure, Outcome, SCHEMA},
    exit, limits, log,
    machine::Machine,
    pack_facts::PackFacts,
    progress::{self, ProgressForm},
};

/// The command line that is being run, without the program's name.
static GIVEN: Mutex<Vec<OsString>> = Mutex::new(Vec::new());

/// The file name that means standard output.
const STDOUT: &str = "-";

/// The options that every command has.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct CommonArgs {
    /// Report as JSON on standard output in the place of text, or in FILE beside it
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = STDOUT,
        global = true
    )]
    json: Option<PathBuf>,
    /// Tell what is done; twice for every look-up; `ENGRAM_LOG=warn,engram=trace` says it more exactly
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "quiet")]
    verbose: u8,
    /// Print results and errors alone: no warnings, notes or progress
    #[arg(short, long, global = true)]
    quiet: bool,
    /// How progress is shown on standard error
    #[arg(long, value_name = "FORM", value_enum, default_value_t, global = true)]
    progress: ProgressForm,
}

impl CommonArgs {
    /// What is told, if the command line says it.
    fn level(&self) -> Option<Level> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(Level::ERROR),
            (false, 0) => None,
            (false, 1) => Some(Level::DEBUG),
            (false, _) => Some(Level::TRACE),
        }
    }
}

/// Runs the command line `args`, whose first is the program's name: parses it as a `C`, whose options of every command
/// are `common`, and does what it says by `work`.
pub fn run<C: Parser>(
    args: impl IntoIterator<Item = OsString>,
    common: fn(&C) -> &CommonArgs,
    work: impl FnOnce(C) -> Result<Outcome>,
) -> ExitCode {
    let start = Instant::now();
    let args: Vec<OsString> = args.into_iter().collect();
    *lock(&GIVEN) = args.iter().skip(1).cloned().collect();
    let reporter = |json: Option<PathBuf>| Reporter {
        command: C::command(),
        args: &args,
        start,
        json,
    };
    let cli = match C::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return reporter(json_of(&args)).usage(&error),
    };
    let CommonArgs { json, quiet, .. } = common(&cli).clone();
    console::begin(json.as_deref() == Some(Path::new(STDOUT)), quiet);
    progress::choose(if quiet {
        ProgressForm::None
    } else {
        common(&cli).progress
    });
    let reporter = reporter(json);
    if let Err(error) = log::show(common(&cli).level()) {
        return reporter.failed(&error, exit::USAGE);
    }
    limits::raise_open_files();
    match work(cli) {
        Ok(outcome) => reporter.done(outcome),
        Err(error) => reporter.failed(&error, exit::code_of(&error)),
    }
}

/// The command line of this process, to be run again in another one, but for where its report goes.
///
/// # Errors
/// A process that was started by another command line than [`run`] was given, as within an interactive interpreter.
pub fn again() -> Result<process::Command> {
    let mut whole = env::args_os();
    let program = whole.next().context("the process has no name")?;
    let whole: Vec<OsString> = whole.collect();
    let given = lock(&GIVEN).clone();
    let Some(interpreter) = whole.strip_suffix(given.as_slice()) else {
        bail!(
            "this process was not started by a command line of its own, so it cannot be run again"
        );
    };
    let mut command = if interpreter.is_empty() {
        process::Command::new(env::current_exe()?)
    } else {
        process::Command::new(program)
    };
    command.args(interpreter);
    let is_report = |arg: &&OsString| json_of(std::slice::from_ref(*arg)).is_some();
    command.args(given.iter().filter(|arg| !is_report(arg)));
    Ok(command)
}

/// Where a command line that cannot be parsed asks for its report.
fn json_of(args: &[OsString]) -> Option<PathBuf> {
    args.iter().find_map(|arg| {
        let value = arg.to_str()?.strip_prefix("--json")?;
        match value.strip_prefix('=') {
            Some(file) => Some(file.into()),
            None => value.is_empty().then(|| STDOUT.into()),
        }
    })
}

/// What ends a command.
struct Reporter<'a> {
    command: Command,
    args: &'a [OsString],
    start: Instant,
    json: Option<PathBuf>,
}

impl Reporter<'_> {
    /// Ends a command whose help or version was asked for, or whose command line is wrong.
    fn usage(&self, error: &clap::Error) -> ExitCode {
        // Where even that cannot be printed, the exit code still tells.
        let _ = error.print();
        if !error.use_stderr() {
            return ExitCode::SUCCESS;
        }
        let message = error.render().to_string();
        let message = message.trim_end().trim_start_matches("error: ");
        let failure = Failure {
            message: message.into(),
            causes: message.lines().take(1).map(Into::into).collect(),
        };
        self.write(Outcome::default().exit_code(exit::USAGE), Some(failure))
    }

    fn done(&self, outcome: Outcome) -> ExitCode {
        self.write(outcome, None)
    }

    fn failed(&self, error: &anyhow::Error, code: u8) -> ExitCode {
        // Whoever has closed a pipe knows.
        if !console::is_broken_pipe(error) {
            let _ = writeln!(io::stderr(), "error: {error:#}");
        }
        self.write(Outcome::default().exit_code(code), Some(error.into()))
    }

    /// Writes the report, if it is wanted, and returns the exit code.
    fn write(&self, outcome: Outcome, error: Option<Failure>) -> ExitCode {
        let code = outcome.code;
        let Some(path) = &self.json else {
            return code.into();
        };
        match write_report(path, &self.envelope(outcome, error)) {
            Ok(()) => code.into(),
            Err(error) => {
                if !console::is_broken_pipe(&error) {
                    let _ = writeln!(io::stderr(), "error: {error:#}");
                }
                exit::FAILED.max(code).into()
            }
        }
    }

    fn envelope(&self, outcome: Outcome, error: Option<Failure>) -> Envelope {
        let lossy = |arg: &OsString| arg.to_string_lossy().into_owned();
        Envelope {
            schema: SCHEMA,
            tool: self.command.get_name().into(),
            version: self.command.get_version().unwrap_or_default().into(),
            command: self.args.iter().map(lossy).collect(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            seconds: self.start.elapsed().as_secs_f64(),
            exit_code: outcome.code,
            machine: Machine::here(),
            gpu: outcome.gpu,
            pack: outcome.pack.as_deref().and_then(PackFacts::of),
            report: if error.is_some() {
                Value::Null
            } else {
                outcome.report
            },
            figures: outcome.figures,
            error,
        }
    }
}

fn write_report(path: &Path, report: &Envelope) -> Result<()> {
    if path == Path::new(STDOUT) {
        return console::print_json(report);
    }
    let text = serde_json::to_string_pretty(report)? + "\n";
    Ok(publish_bytes(path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_still_says_where_its_report_goes() {
        let of = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            json_of(&args)
        };
        assert_eq!(of(&["engram-pack", "build"]), None);
        assert_eq!(of(&["engram-pack", "--json"]), Some("-".into()));
        assert_eq!(of(&["--json=a.json", "x"]), Some("a.json".into()));
        assert_eq!(of(&["--jsonx"]), None);
    }
}
