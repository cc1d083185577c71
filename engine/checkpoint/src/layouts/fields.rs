//! Typed access to the fields of a `config.json`.

use std::path::Path;

use serde_json::Value;

use crate::error::CheckpointError;

/// The fields of a configuration: those of `text_config` where there is one, then those of the root.
pub(super) struct Fields<'a> {
    path: &'a Path,
    scopes: [Option<&'a Value>; 2],
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: &'a Path, json: &'a Value) -> Self {
        Self {
            path,
            scopes: [json.get("text_config"), Some(json)],
        }
    }

    fn find(&self, name: &str) -> Option<&'a Value> {
        self.scopes
            .iter()
            .flatten()
            .find_map(|scope| scope.get(name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn fault(
        &self,
        field: &str,
        found: impl ToString,
        expected: &str,
    ) -> CheckpointError {
        CheckpointError::Config {
            path: self.path.into(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// The first of `names` that is there, as a `T`.
    pub(super) fn optional<T: Number>(&self, names: &[&str]) -> Result<Option<T>, CheckpointError> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, self.find(name)?)))
        else {
            return Ok(None);
        };
        if value.is_null() {
            return Ok(None);
        }
        T::read(value)
            .map(Some)
            .ok_or_else(|| self.fault(name, value, T::WHAT))
    }

    pub(super) fn required<T: Number>(&self, names: &[&str]) -> Result<T, CheckpointError> {
        self.optional(names)?
            .ok_or_else(|| self.fault(names[0], "missing", T::WHAT))
    }
}

/// A value that a field may have.
pub(super) trait Number: Sized {
    const WHAT: &'static str;
    fn read(value: &Value) -> Option<Self>;
}

impl Number for u64 {
    const WHAT: &'static str = "a whole number";

    fn read(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl Number for u32 {
    const WHAT: &'static str = "a whole number below 2^32";

    fn read(value: &Value) -> Option<Self> {
        Self::try_from(value.as_u64()?).ok()
    }
}

impl Number for f64 {
    const WHAT: &'static str = "a number";

    fn read(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl<T: Number> Number for Vec<T> {
    const WHAT: &'static str = "a list of whole numbers";

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::read).collect()
    }
}
