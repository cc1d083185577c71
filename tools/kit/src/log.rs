//! What the engine and the tools tell on the way: warnings, and on request what they do.

use std::{env, fmt, fmt::Write as _, io};

use anyhow::{Context, Result};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{FmtSpan, Writer},
    },
    registry::{LookupSpan, Scope},
};

/// The variable whose directives say what is told, such as `warn,engram=debug`.
pub(crate) const VARIABLE: &str = "ENGRAM_LOG";

/// From now on tells on standard error what `level` allows, or the directives in [`VARIABLE`] if no level is given,
/// or else warnings. To be called by a command when it begins; of several calls in one process the first counts.
///
/// # Errors
/// A variable that is no list of directives.
pub(crate) fn show(level: Option<Level>) -> Result<()> {
    let filter = match (level, env::var(VARIABLE)) {
        (Some(level), _) => EnvFilter::new(level.to_string()),
        (None, Ok(directives)) => EnvFilter::try_new(&directives)
            .with_context(|| format!("{VARIABLE} is `{directives}`"))?,
        (None, Err(_)) => EnvFilter::new("warn"),
    };
    // Refused only if somebody shows them already.
    let _ = tracing::subscriber::set_global_default(subscriber(filter, io::stderr));
    Ok(())
}

fn subscriber<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(writer)
        // A closed standard error is no reason to panic.
        .log_internal_errors(false)
        .event_format(Lines)
        .finish()
}

/// Writes each event as a line: its level, the spans that it is in, its message, its other fields.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        write!(to, "{level}: ")?;
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            write!(to, "{}", span.name())?;
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                write!(to, "{{{fields}}}")?;
            }
            write!(to, ": ")?;
        }
        let mut line = Line::default();
        event.record(&mut line);
        writeln!(to, "{}{}", line.message, line.fields)
    }
}

/// The message of an event, and its other fields as they follow it.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let added = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, "; {name}: {value:?}"),
        };
        added.expect("a string takes what it is given");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is told with these directives.
    fn told(directives: &str, tell: impl FnOnce()) -> String {
        let printed = Printed::default();
        let writer = printed.clone();
        let subscriber = subscriber(EnvFilter::new(directives), move || writer.clone());
        tracing::subscriber::with_default(subscriber, tell);
        let bytes = printed.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn tell() {
        let _span = tracing::debug_span!("open", pack = "here").entered();
        let error = io::Error::from_raw_os_error(1);
        tracing::warn!(%error, "io_uring is refused");
        tracing::debug!("opened");
    }

    #[test]
    fn a_line_has_the_message_before_the_fields() {
        let expected =
            "warning: io_uring is refused; error: Operation not permitted (os error 1)\n";
        assert_eq!(told("warn", tell), expected);
        assert_eq!(told("error", tell), "");
    }

    #[test]
    fn spans_are_told_on_request() {
        let told = told("debug", tell);
        assert!(
            told.contains("debug: open{pack=\"here\"}: opened\n"),
            "{told}"
        );
        assert!(
            told.contains("debug: open{pack=\"here\"}: close; time.busy: "),
            "{told}"
        );
    }
}
