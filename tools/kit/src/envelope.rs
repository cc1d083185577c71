//! What a command reports as JSON (`format-spec/REPORT.md`).

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{figure::Figure, machine::Machine, pack_facts::PackFacts};

/// Number of the form that reports have. It changes when a field is taken away or means something else.
pub const SCHEMA: u32 = 1;

/// The report of a command, the same for all commands of all tools.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Number of the form of this report: 1.
    pub schema: u32,
    /// The program.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// The command line, the program's name first.
    pub command: Vec<String>,
    /// When it ended, by RFC 3339 in UTC.
    pub date: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// With which it ended; its `--help` lists the codes.
    pub exit_code: u8,
    /// Where it ran.
    pub machine: Machine,
    /// The GPU, if it used one.
    pub gpu: Option<String>,
    /// The pack that it worked on, if there was one.
    pub pack: Option<PackFacts>,
    /// What the command has to say; null if nothing, or it failed. Each command has a form of its own.
    pub report: Value,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// As it is printed.
    pub message: String,
    /// Its parts, from what was tried to the first cause.
    pub causes: Vec<String>,
}

/// What a command has done.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub(crate) code: u8,
    pub(crate) gpu: Option<String>,
    pub(crate) pack: Option<PathBuf>,
    pub(crate) report: Value,
    pub(crate) figures: Vec<Figure>,
}

impl Outcome {
    /// Done, with something to report.
    ///
    /// # Errors
    /// A report that has no form in JSON.
    pub fn new(report: &impl Serialize) -> Result<Self> {
        Ok(Self {
            report: serde_json::to_value(report)?,
            ..Self::default()
        })
    }

    /// On the pack in the folder `pack`.
    #[must_use]
    pub fn of_pack(mut self, pack: &Path) -> Self {
        self.pack = Some(pack.into());
        self
    }

    /// On the GPU called `name`.
    #[must_use]
    pub fn on_gpu(mut self, name: String) -> Self {
        self.gpu = Some(name);
        self
    }

    /// With what was measured.
    #[must_use]
    pub fn figures(mut self, figures: Vec<Figure>) -> Self {
        self.figures = figures;
        self
    }

    /// With another exit code than 0, one of [`exit`](crate::exit).
    #[must_use]
    pub fn exit_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

impl From<&anyhow::Error> for Failure {
    fn from(error: &anyhow::Error) -> Self {
        Self {
            message: format!("{error:#}"),
            causes: error.chain().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn the_schema_is_that_of_the_report() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../format-spec/report.schema.json"
        );
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Envelope)).unwrap() + "\n";
        if env::var_os("ENGRAM_BLESS").is_some() {
            fs::write(path, &schema).unwrap();
        }
        assert!(
            fs::read_to_string(path).unwrap() == schema,
            "{path} is not current; make it anew by ENGRAM_BLESS=1"
        );
    }
}
