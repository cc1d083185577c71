use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram::{Manifest, Storage, read_manifest, read_profile};
use engram_kit::{
    console::{print_json, size},
    say,
};

use crate::{ProfileSummary, pack_bytes};
use serde_json::json;

/// Show what a pack or a profile says of itself
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the pack, or file of the profile
    path: PathBuf,
    /// Print the manifest, with sizes, or the profile's figures as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.path.is_file() {
            let summary = ProfileSummary::of(&read_profile(&self.path)?);
            if self.json {
                print_json(&summary)?;
            } else {
                print_profile(&summary)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let manifest = read_manifest(&self.path)?;
        if self.json {
            print_json(&json!({ "bytes": pack_bytes(&manifest), "manifest": manifest }))?;
        } else {
            print(&manifest)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn print_profile(summary: &ProfileSummary) -> Result<()> {
    let rules = &summary.rules;
    say!("profile     of {} tokens", summary.tokens);
    match rules.token_map {
        Some(digest) => say!(
            "vocabulary  {} hashed ids, map {digest}",
            rules.hashed_vocab_size
        ),
        None => say!(
            "vocabulary  {} tokens, hashed as they are",
            rules.hashed_vocab_size
        ),
    }
    for order in &summary.orders {
        say!(
            "order {}     {} of {} different n-grams, {:.1} % of the tokens",
            order.order,
            order.kept,
            order.distinct,
            percent(order.covered, summary.tokens),
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn percent(some: u64, all: u64) -> f64 {
    100.0 * some as f64 / all as f64
}

fn print(manifest: &Manifest) -> Result<()> {
    let scheme = &manifest.scheme;
    say!("scheme      {}", scheme.name);
    say!(
        "columns     {} a layer: orders 2 to {}, {} heads each",
        scheme.column_count(),
        scheme.max_order,
        scheme.heads
    );
    match &manifest.token_map {
        Some(map) => say!(
            "vocabulary  {} tokens, {} hashed ids, map {}",
            map.entries,
            scheme.hashed_vocab_size,
            map.digest
        ),
        None => say!(
            "vocabulary  {} tokens, hashed as they are",
            scheme.hashed_vocab_size
        ),
    }
    match &manifest.storage {
        Storage::Packed => say!(
            "storage     {} in shards of sealed records",
            size(pack_bytes(manifest))
        ),
        Storage::Attached { checkpoint } => say!("storage     attached to {checkpoint}"),
    }
    for source in &manifest.sources {
        say!("source      {} ({})", source.name, size(source.bytes));
    }
    for (table, layer) in manifest.tables.iter().zip(&scheme.layers) {
        let layout = table.layout();
        say!(
            "table       layer {}: {} rows, {:?}; {} bytes a row, {} a record, {} to a group of {} bytes",
            table.layer,
            layer.row_count,
            table.codec,
            layout.row_bytes(),
            layout.stride(),
            layout.group_records(),
            layout.group_bytes(),
        );
    }
    Ok(())
}
