//! Figures that were measured, each by its name and with its unit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What was measured, such as `rows_per_second`. Figures of one name have one unit.
    pub name: String,
    /// Its unit, such as `rows/s`, `us` or `1` for a share.
    pub unit: String,
    /// Of what: the storage, the rows of a call and so on.
    pub of: BTreeMap<String, Value>,
    /// The figure, the median where there were several rounds; null if it could not be measured.
    pub value: Option<f64>,
    /// The figures of single rounds, where they are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<f64>,
    /// The figure as a share of the limit or peer that it is held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_limit: Option<f64>,
    /// Why the figure, or its share of the limit, means nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<String>,
}

impl Figure {
    /// As a share of the limit.
    #[must_use]
    pub fn of_limit(mut self, share: f64) -> Self {
        self.of_limit = share.is_finite().then_some(share);
        self
    }

    /// With a reason not to trust it, if there is one.
    #[must_use]
    pub fn caveat(mut self, reason: Option<String>) -> Self {
        self.caveat = reason;
        self
    }

    /// With the figures of single rounds.
    #[must_use]
    pub fn rounds(mut self, rounds: impl IntoIterator<Item = f64>) -> Self {
        let finite = |value: &f64| value.is_finite();
        self.rounds = rounds.into_iter().filter(finite).collect();
        self
    }
}

/// What figures are of.
#[derive(Debug, Clone, Default)]
pub struct Case(BTreeMap<String, Value>);

impl Case {
    /// The case that has nothing to tell it from others.
    pub fn new() -> Self {
        Self::default()
    }

    /// The case in which also `key` is `value`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// A figure of this case.
    pub fn figure(&self, name: &str, unit: &str, value: f64) -> Figure {
        Figure {
            name: name.into(),
            unit: unit.into(),
            of: self.0.clone(),
            value: value.is_finite().then_some(value),
            rounds: Vec::new(),
            of_limit: None,
            caveat: None,
        }
    }
}
