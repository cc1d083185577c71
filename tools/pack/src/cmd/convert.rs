use std::path::PathBuf;

use anyhow::Result;
use engram::{LayerId, read_manifest};
use engram_kit::{
    console::{note, rate, size},
    envelope::Outcome,
    moved_stripes::moved,
    progress::Progress,
    report, say,
};

use super::build;
use crate::{CodecSpec, ColumnFidelity, ConvertOptions, ConvertReport, convert, plan_conversion};

/// Convert a pack to another row codec
///
/// Rows are decoded and encoded anew, each checked by its seal before. The new pack keeps the scheme and the token map,
/// and says how the checkpoint's rows were encoded. As a build, a conversion may be stopped at any time; --resume goes
/// on with the shards that are missing, to the same bytes. A codec with one scale for the table (`fp8_e4m3_scaled`,
/// `nvfp4`, `nvfp4_gguf`) takes a first pass over the rows, unless its `table_scale` is given.
#[derive(clap::Args)]
#[command(after_help = "\
Codecs: f32, f16, bf16, fp8_e4m3, fp8_e4m3_scaled, fp8_e4m3_ue8m0, fp8_e4m3_grouped, int8, int4, nvfp4, mxfp4, and
GGML's q8_0, q4_0, iq4_nl, mxfp4_gguf, nvfp4_gguf, q4_k, q5_k. Parameters follow a colon: `group` (values that share a
scale, or `row`) of fp8_e4m3_ue8m0, fp8_e4m3_grouped, int8 and int4; `scale` (f32, f16, bf16, e4m3, ue8m0) of the last
three.

Of each column it tells the relative RMSE, and the cosine between a row and what it was: the mean, the first percentile
(to 1 % of its distance from 1), and the worst row.

Examples:
  engram-pack convert pack --codec q8_0 -o pack-q8
  engram-pack convert pack --codec int4:group=32,scale=f16 -o pack-int4 --keep layer=1
  engram-pack convert pack --codec nvfp4:table_scale=0.0002 -o pack-nvfp4 --dry-run")]
pub(crate) struct Args {
    /// Folder of the pack
    pack: PathBuf,
    /// Row codec to convert to, with its parameters after a colon
    #[arg(long, value_name = "CODEC")]
    codec: CodecSpec,
    /// Folder of the new pack; must be empty or missing
    #[arg(short, long, value_name = "PACK")]
    output: PathBuf,
    /// Layers whose tables stay as they are
    #[arg(long, alias = "keep-f", value_name = "layer=N[,N]", value_parser = kept)]
    keep: Vec<Kept>,
    /// Spread the shards over this folder and others given so, best each on a drive of its own; outside of the pack
    /// they must be empty or missing
    #[arg(long = "stripe", value_name = "DIR")]
    stripes: Vec<PathBuf>,
    /// Columns converted at a time [default: twice the cores, up to 8]
    #[arg(long, value_name = "J", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    /// Go on with an unfinished conversion
    #[arg(long)]
    resume: bool,
    /// Say what would be written and whether it fits, and write nothing
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// Where the checkpoint behind an attached pack lies now
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Where stripe N of the pack that is converted lies now
    #[arg(long = "moved-stripe", value_name = "N=DIR", value_parser = moved)]
    moved_stripes: Vec<(u32, PathBuf)>,
}

/// Layers that are kept.
#[derive(Debug, Clone)]
struct Kept(Vec<LayerId>);

fn kept(text: &str) -> Result<Kept, String> {
    let (what, which) = text.split_once('=').unwrap_or((text, ""));
    if what != "layer" {
        return Err(format!(
            "`{what}` cannot be kept: all rows of a layer are encoded alike, so whole layers are kept, such as layer=1"
        ));
    }
    let layers = which.split(',').map(|layer| layer.parse().map(LayerId));
    let layers: Result<Vec<LayerId>, _> = layers.collect();
    let layers = layers.map_err(|error| format!("layer is `{which}`: {error}"))?;
    Ok(Kept(layers))
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let options = ConvertOptions {
            keep: self.keep.into_iter().flat_map(|kept| kept.0).collect(),
            jobs: self.jobs,
            resume: self.resume,
            stripes: self.stripes,
            checkpoint: self.checkpoint,
            moved_stripes: self.moved_stripes.into_iter().collect(),
            ..ConvertOptions::to(self.codec)
        };
        if self.dry_run {
            let plan = plan_conversion(&self.pack, &self.output, &options)?;
            plan.notes.iter().for_each(note);
            return build::plan(&plan);
        }
        let bytes = options.source_bytes(&read_manifest(&self.pack)?)?;
        let progress = Progress::new(bytes, "converting");
        let report = convert(&self.pack, &self.output, &options, &|bytes| {
            progress.add(bytes);
        })?;
        progress.finish();
        show(&report)?;
        say!(
            "{}: {} rows in {} shards ({} converted before), {} written, {} of rows",
            self.output.display(),
            report.rows,
            report.shards,
            report.shards_resumed,
            size(report.bytes_written),
            rate(report.bytes_read, report.seconds),
        );
        Ok(Outcome::new(&report)?.of_pack(&self.output))
    }
}

fn show(report: &ConvertReport) -> Result<()> {
    let head = [
        "layer",
        "order",
        "head",
        "rows",
        "rel. RMSE",
        "cosine",
        "1st percentile",
        "worst",
        "of row",
    ];
    let row = |of: &ColumnFidelity| {
        let cosines = [of.cosine_mean, of.cosine_p1, of.cosine_worst];
        let place = [of.layer.0, of.order, of.head].map(|number| number.to_string());
        let numbers = [of.rows.to_string(), format!("{:.5}", of.relative_rmse)];
        let cosines = cosines.map(|cosine| format!("{cosine:.6}"));
        let all = place.into_iter().chain(numbers).chain(cosines);
        all.chain([of.worst_row.to_string()]).collect()
    };
    if !report.columns.is_empty() {
        let rows: Vec<Vec<String>> = report.columns.iter().map(row).collect();
        report::table(&head, &rows)?;
    }
    for table in &report.tables {
        let (layer, from, to) = (table.layer, table.from, table.to);
        match (table.relative_rmse, table.cosine_mean) {
            _ if from == to => say!("layer {layer}: {from}, as before"),
            (Some(rmse), Some(cosine)) => say!(
                "layer {layer}: {from} to {to}, {} to {} bytes a row, relative RMSE {rmse:.5}, cosine {cosine:.6}",
                from.row_bytes(),
                to.row_bytes()
            ),
            _ => say!("layer {layer}: {from} to {to}, converted before"),
        }
    }
    Ok(())
}
