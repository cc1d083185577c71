//! Completions and manual pages, made from what the command says of itself.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;
use engram_io::create_folder;
use serde_json::json;

use crate::{envelope::Outcome, say};

/// Print a script by which a shell completes this command, such as for bash's `source <(...)`
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script for `command`.
    ///
    /// # Errors
    /// An output that is closed.
    pub fn run(self, mut command: Command) -> Result<Outcome> {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        print(String::from_utf8(script)?)
    }
}

/// Print the manual page, or write those of all commands to a folder such as ~/.local/share/man/man1
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Folder for the pages of all commands
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl ManArgs {
    /// Writes the pages of `command`.
    ///
    /// # Errors
    /// A folder that cannot be written, or an output that is closed.
    pub fn run(self, command: Command) -> Result<Outcome> {
        let Some(folder) = self.output else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            return print(String::from_utf8(page)?);
        };
        create_folder(&folder)?;
        let written = clap_mangen::generate_to(command, &folder);
        written.with_context(|| format!("cannot write to {}", folder.display()))?;
        Outcome::new(&json!({ "folder": folder }))
    }
}

fn print(text: String) -> Result<Outcome> {
    say!("{}", text.trim_end());
    Outcome::new(&json!({ "text": text }))
}
