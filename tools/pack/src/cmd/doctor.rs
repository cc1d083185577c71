use std::path::PathBuf;

use anyhow::Result;
use engram_kit::{envelope::Outcome, say};

use crate::examine;

/// Tell what this machine allows, and how a pack would be read on it
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  engram-pack doctor pack
  engram-pack doctor /mnt/nvme --json | jq '.report.findings[] | select(.state != \"good\")'")]
pub(crate) struct Args {
    /// Folder of a pack, or one in which a pack may be put
    #[arg(value_name = "PACK|FOLDER", default_value = ".")]
    folder: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let doctor = examine(&self.folder)?;
        let width = doctor
            .findings
            .iter()
            .map(|finding| finding.name.len())
            .max();
        for finding in &doctor.findings {
            let (name, state, said) = (finding.name, finding.state, &finding.said);
            say!(
                "{name:<width$}  {state:<7}  {said}",
                width = width.unwrap_or(0)
            );
            if let Some(advice) = &finding.advice {
                say!(
                    "{:<width$}           {advice}",
                    "",
                    width = width.unwrap_or(0)
                );
            }
        }
        Ok(Outcome::new(&doctor)?.of_pack(&self.folder))
    }
}
