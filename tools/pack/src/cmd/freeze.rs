use std::path::PathBuf;

use anyhow::Result;
use engram::read_manifest;
use engram_kit::{
    console::{rate, size},
    envelope::Outcome,
    moved_stripes::MovedStripes,
    progress::Progress,
    say,
};

use super::inspect::percent;
use crate::{FreezeOptions, freeze, pack_bytes};

/// Make a cold pack, for archives and for shipping: the rows of a pack in Zstandard frames
///
/// A store opens a cold pack as it is, to be read only: a row costs a frame. Frames are independent, and an index with
/// a checksum of each lies at the beginning of each file, so that parts can be fetched and verified by themselves.
/// `thaw` makes the pack again, to the bit. As with `build`, it may be stopped at any time.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  engram-pack freeze pack -o cold
  engram-pack freeze pack -o cold --level 9 --json | jq .report.columns
  engram-pack freeze pack -o cold --resume")]
pub(crate) struct Args {
    /// Folder of the packed pack
    pack: PathBuf,
    /// Folder of the cold pack; must be empty or missing
    #[arg(short, long, value_name = "COLD")]
    output: PathBuf,
    /// Level of Zstandard, 1 to 22
    #[arg(long, value_name = "L", default_value_t = FreezeOptions::default().level)]
    level: i32,
    /// Bytes of a frame before it is compressed; smaller ones cost a look-up less and save less
    #[arg(long, value_name = "BYTES", default_value_t = FreezeOptions::default().frame_bytes)]
    frame_bytes: u64,
    /// Columns frozen at a time [default: twice the cores, up to 8]
    #[arg(long, value_name = "J", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    /// Go on with an unfinished cold pack
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    moved: MovedStripes,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let options = FreezeOptions {
            level: self.level,
            frame_bytes: self.frame_bytes,
            jobs: self.jobs,
            resume: self.resume,
            stripes: self.moved.by_number(),
            ..FreezeOptions::default()
        };
        let progress = Progress::new(pack_bytes(&read_manifest(&self.pack)?), "freezing");
        let report = freeze(&self.pack, &self.output, &options, &|bytes| {
            progress.add(bytes);
        })?;
        progress.finish();
        for column in &report.columns {
            let dictionary = match column.dictionary_bytes {
                0 => String::new(),
                bytes => format!(", with a dictionary of {}", size(bytes.into())),
            };
            say!(
                "layer {}, order {}, head {}: {} of {}, {:.1} % of its rows{dictionary}",
                column.layer,
                column.order,
                column.head,
                size(column.cold_bytes),
                size(column.packed_bytes),
                percent(column.cold_bytes, column.row_bytes),
            );
        }
        say!(
            "{}: {} of {} ({:.1} %), {:.1} % of the rows ({} columns frozen before), {}",
            self.output.display(),
            size(report.cold_bytes),
            size(report.packed_bytes),
            percent(report.cold_bytes, report.packed_bytes),
            percent(report.cold_bytes, report.row_bytes),
            report.columns_resumed,
            rate(report.packed_bytes, report.seconds),
        );
        Ok(Outcome::new(&report)?.of_pack(&self.output))
    }
}
