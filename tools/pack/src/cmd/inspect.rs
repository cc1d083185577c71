use std::path::PathBuf;

use anyhow::Result;
use engram::{Manifest, Storage, read_manifest, read_profile};
use engram_kit::{console::size, envelope::Outcome, say};
use serde_json::json;

use crate::{ProfileSummary, pack_bytes, thawed_bytes};

/// Show what a pack or a profile says of itself
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  engram-pack inspect pack
  engram-pack inspect english.profile --json | jq .report.orders")]
pub(crate) struct Args {
    /// Folder of the pack, or file of the profile
    path: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        if self.path.is_file() {
            let summary = ProfileSummary::of(&read_profile(&self.path)?);
            print_profile(&summary)?;
            return Outcome::new(&summary);
        }
        let manifest = read_manifest(&self.path)?;
        print(&manifest)?;
        let report = json!({ "bytes": pack_bytes(&manifest), "manifest": manifest });
        Ok(Outcome::new(&report)?.of_pack(&self.path))
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
pub(super) fn percent(some: u64, all: u64) -> f64 {
    100.0 * some as f64 / all as f64
}

fn print(manifest: &Manifest) -> Result<()> {
    let scheme = &manifest.scheme;
    say!("scheme      {}", scheme.name);
    say!(
        "columns     {} a layer: orders {} to {}, {} heads each",
        scheme.column_count(),
        scheme.first_order(),
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
        Storage::Cold { .. } => say!(
            "storage     cold: {} in Zstandard frames, {:.1} % of {} as a packed pack",
            size(pack_bytes(manifest)),
            percent(pack_bytes(manifest), thawed_bytes(manifest)),
            size(thawed_bytes(manifest)),
        ),
        Storage::Attached { checkpoint } => say!("storage     attached to {checkpoint}"),
    }
    if let Some(stripes) = &manifest.stripes {
        for (stripe, folder) in (0..).zip(&stripes.folders) {
            let columns = stripes.columns.iter().flatten();
            let columns = columns.filter(|of| **of == stripe).count();
            say!("stripe {stripe:<5}{columns} columns in {folder}");
        }
    }
    for source in &manifest.sources {
        say!("source      {} ({})", source.name, size(source.bytes));
    }
    for (index, (table, layer)) in manifest.tables.iter().zip(&scheme.layers).enumerate() {
        let layout = table.layout();
        say!(
            "table       layer {}: {} rows of {} bytes: {}",
            table.layer,
            layer.row_count,
            layout.row_bytes(),
            table.codec,
        );
        if let Some(source) = table.source_codec {
            say!("            converted from {source}");
        }
        if let Storage::Cold { tables } = &manifest.storage {
            let cold = &tables[index];
            let with_dictionary = cold
                .shards
                .iter()
                .filter(|shard| shard.dictionary_bytes > 0);
            say!(
                "            {} to a frame, {} of {} columns with a dictionary",
                cold.frame_rows,
                with_dictionary.count(),
                cold.shards.len(),
            );
        } else if !table.shards.is_empty() {
            say!(
                "            with seals {} bytes, {} to a group of {}",
                layout.stride(),
                layout.group_records(),
                layout.group_bytes(),
            );
        }
    }
    Ok(())
}
