//! What a machine allows, and how a pack would be read on it.

mod io;
mod memory;
mod store;
mod system;

use std::{fmt, path::Path};

use anyhow::Result;
use engram::read_manifest;
use engram_format::MANIFEST_FILE;
use serde::Serialize;
use serde_json::Value;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Doctor {
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

/// Something that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What it is.
    pub name: &'static str,
    /// Whether it is as a store would wish.
    pub state: State,
    /// What was found, for people.
    pub said: String,
    /// What could be done about it.
    pub advice: Option<String>,
    /// What was found, for programs; each finding has its own fields.
    pub values: Value,
}

/// Whether something is as a store would wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is.
    Good,
    /// It works, more slowly or only up to some size.
    Limited,
    /// There is none.
    None,
    /// The system does not say.
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Limited => "limited",
            Self::None => "none",
            Self::Unknown => "unknown",
        })
    }
}

impl Finding {
    fn new(name: &'static str, state: State, said: impl Into<String>, values: Value) -> Self {
        Self {
            name,
            state,
            said: said.into(),
            advice: None,
            values,
        }
    }

    fn advice(mut self, advice: impl Into<Option<String>>) -> Self {
        self.advice = advice.into();
        self
    }
}

/// Looks at this machine, and at the folder `folder`: a pack, or where one may be put.
///
/// Where direct reads are tried in a folder without a pack, a file of one page is made there and removed.
///
/// # Errors
/// A folder that is not there, or a pack that cannot be opened.
pub fn examine(folder: &Path) -> Result<Doctor> {
    let pack = folder
        .join(MANIFEST_FILE)
        .exists()
        .then(|| read_manifest(folder))
        .transpose()?;
    let mut findings = vec![system::kernel(), system::processor()];
    findings.extend(io::findings(folder, pack.as_ref())?);
    findings.extend([
        memory::available(),
        memory::huge_pages(),
        memory::locked(),
        system::open_files(pack.as_ref()),
        system::cuda(),
    ]);
    findings.push(match &pack {
        Some(_) => store::of_pack(folder)?,
        None => store::elsewhere(),
    });
    Ok(Doctor { findings })
}
