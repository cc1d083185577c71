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

    /// The value of the first of `names` that the configuration has, as a `T`. A `null` counts as missing.
    pub(super) fn optional<T: FieldValue>(
        &self,
        names: &[&str],
    ) -> Result<Option<T>, CheckpointError> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, self.find(name)?)))
        else {
            return Ok(None);
        };
        if value.is_null() {
            return Ok(None);
        }
        T::read(value)
            .map(Some)
            .ok_or_else(|| self.fault(name, value, T::EXPECTED))
    }

    pub(super) fn required<T: FieldValue>(&self, names: &[&str]) -> Result<T, CheckpointError> {
        self.optional(names)?
            .ok_or_else(|| self.fault(names[0], "missing", T::EXPECTED))
    }
}

/// A type that a field's value is read as.
pub(super) trait FieldValue: Sized {
    const EXPECTED: &'static str;
    fn read(value: &Value) -> Option<Self>;
}

impl FieldValue for u64 {
    const EXPECTED: &'static str = "a whole number";

    fn read(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl FieldValue for u32 {
    const EXPECTED: &'static str = "a whole number below 2^32";

    fn read(value: &Value) -> Option<Self> {
        Self::try_from(value.as_u64()?).ok()
    }
}

impl FieldValue for f64 {
    const EXPECTED: &'static str = "a number";

    fn read(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl<T: FieldValue> FieldValue for Vec<T> {
    const EXPECTED: &'static str = "a list of whole numbers";

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::read).collect()
    }
}
