use std::path::PathBuf;

use anyhow::Result;
use engram::read_manifest;
use engram_kit::{
    console::size, envelope::Outcome, moved_stripes::MovedStripes, pack_facts::row_bytes,
    progress::Progress, report, say,
};

use crate::{ColumnStats, StatsOptions, stats};

/// Count the rows of each column that are not numbers, zero, or repeat another
#[derive(clap::Args)]
#[command(after_help = "\
A column whose rows' hashes take more memory than its job has is read several times.

Examples:
  engram-pack stats pack
  engram-pack stats pack --memory 64 --json | jq .report.columns")]
pub(crate) struct Args {
    /// Folder of the pack
    pack: PathBuf,
    /// Columns read at a time [default: twice the cores, up to 8]
    #[arg(long, value_name = "J", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    /// Memory of all jobs together, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: usize,
    /// Where the checkpoint behind an attached pack lies now
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    moved: MovedStripes,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let options = StatsOptions {
            jobs: self.jobs,
            memory: self.memory << 20,
            checkpoint: self.checkpoint,
            stripes: self.moved.by_number(),
        };
        let bytes = row_bytes(&read_manifest(&self.pack)?);
        let progress = Progress::new(bytes, "counting");
        let found = stats(&self.pack, &options, &|bytes| progress.add(bytes))?;
        progress.finish();
        let head = [
            "layer",
            "order",
            "head",
            "rows",
            "not numbers",
            "zero",
            "repeated",
        ];
        let row = |of: &ColumnStats| {
            let numbers = [of.rows, of.nan_rows, of.zero_rows, of.repeated_rows];
            let place = [of.layer.0, of.order, of.head].map(|number| number.to_string());
            place
                .into_iter()
                .chain(numbers.map(|number| number.to_string()))
                .collect()
        };
        report::table(
            &head,
            &found.columns.iter().map(row).collect::<Vec<Vec<String>>>(),
        )?;
        say!(
            "{} rows ({}): {} not numbers, {} zero, {} repeated",
            found.rows,
            size(bytes),
            found.nan_rows,
            found.zero_rows,
            found.repeated_rows
        );
        Ok(Outcome::new(&found)?.of_pack(&self.pack))
    }
}
