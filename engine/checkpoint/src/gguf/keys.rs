//! The keys of a model, by type.

use std::{collections::BTreeMap, fmt::Display, path::Path};

use super::{error::GgufError, header::Value};
use crate::error::CheckpointError;

/// Keys that begin with a prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys<'a> {
    path: &'a Path,
    values: &'a BTreeMap<String, Value>,
    prefix: String,
}

impl<'a> Keys<'a> {
    pub(super) fn new(path: &'a Path, values: &'a BTreeMap<String, Value>) -> Self {
        Self {
            path,
            values,
            prefix: String::new(),
        }
    }

    /// Those of an architecture.
    pub(super) fn of(self, architecture: &str) -> Self {
        Self {
            prefix: format!("{architecture}."),
            ..self
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &str) -> Option<&'a Value> {
        self.values.get(&format!("{}{key}", self.prefix))
    }

    fn get(&self, key: &str) -> Result<&'a Value, CheckpointError> {
        self.find(key).ok_or_else(|| CheckpointError::Gguf {
            path: self.path.into(),
            cause: Box::new(GgufError::MissingKey {
                key: format!("{}{key}", self.prefix),
            }),
        })
    }

    /// An error about the value of `key`.
    pub(super) fn fault(
        &self,
        key: &str,
        found: impl Display,
        expected: impl Display,
    ) -> CheckpointError {
        CheckpointError::Gguf {
            path: self.path.into(),
            cause: Box::new(GgufError::Key {
                key: format!("{}{key}", self.prefix),
                found: found.to_string(),
                expected: expected.to_string(),
            }),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<String, CheckpointError> {
        match self.get(key)? {
            Value::Text(text) => Ok(text.clone()),
            other => Err(self.fault(key, kind(other), "a text")),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn number<N: TryFrom<i128>>(&self, key: &str) -> Result<N, CheckpointError> {
        match self.get(key)? {
            Value::Number(number) => N::try_from(*number)
                .map_err(|_| self.fault(key, number, format!("a {}", std::any::type_name::<N>()))),
            other => Err(self.fault(key, kind(other), "a whole number")),
        }
    }

    /// As [`Self::number`], where there is such a key.
    pub(super) fn optional<N: TryFrom<i128>>(
        &self,
        key: &str,
    ) -> Result<Option<N>, CheckpointError> {
        self.has(key).then(|| self.number(key)).transpose()
    }

    /// Whole numbers that are not negative.
    pub(super) fn numbers<N: TryFrom<i128>>(&self, key: &str) -> Result<Vec<N>, CheckpointError> {
        match self.get(key)? {
            Value::Numbers(numbers) => {
                let number = |&number| {
                    N::try_from(number).map_err(|_| {
                        let expected = format!("all {}", std::any::type_name::<N>());
                        self.fault(key, format!("a list with {number}"), expected)
                    })
                };
                numbers.iter().map(number).collect()
            }
            other => Err(self.fault(key, kind(other), "a list of whole numbers")),
        }
    }

    /// As [`Self::numbers`], `count` of them.
    pub(super) fn numbers_of<N: TryFrom<i128>>(
        &self,
        key: &str,
        count: usize,
    ) -> Result<Vec<N>, CheckpointError> {
        let numbers = self.numbers(key)?;
        if numbers.len() == count {
            return Ok(numbers);
        }
        let found = format!("a list of {}", numbers.len());
        Err(self.fault(key, found, format!("a list of {count}")))
    }

    /// Entries of a list of anything, where there is such a key.
    pub(super) fn length(&self, key: &str) -> Option<u64> {
        match self.find(key)? {
            Value::Numbers(numbers) => Some(numbers.len() as u64),
            Value::Others(count) => Some(*count),
            _ => None,
        }
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Numbers(numbers) => format!("a list of {} whole numbers", numbers.len()),
        Value::Others(count) => format!("a list of {count}"),
        Value::Fraction => "a fraction".into(),
    }
}
