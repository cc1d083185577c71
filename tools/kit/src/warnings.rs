//! Warnings of the engine and the tools, for people.

use std::fmt::{self, Write};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Prints every warning from now on to standard error. To be called once, by the command.
pub fn show() {
    // Refused only if somebody shows them already.
    let _ = tracing::subscriber::set_global_default(Warnings(|line: &str| {
        eprintln!("warning: {line}")
    }));
}

/// Calls the function with every warning.
struct Warnings<F>(F);

impl<F: Fn(&str) + Send + Sync + 'static> Subscriber for Warnings<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        (self.0)(&(line.message + &line.fields));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event, and its other fields as they follow it.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
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
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_line_has_the_message_before_the_fields() {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let keep = printed.clone();
        let print = Warnings(move |line: &str| keep.lock().unwrap().push(line.to_owned()));
        tracing::subscriber::with_default(print, || {
            let error = std::io::Error::from_raw_os_error(1);
            tracing::warn!(%error, "io_uring is refused");
            tracing::info!("not for people");
        });
        let expected = "io_uring is refused; error: Operation not permitted (os error 1)";
        assert_eq!(*printed.lock().unwrap(), [expected]);
    }
}
