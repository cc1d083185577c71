use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use engram::{Manifest, Storage, read_manifest};
use engram_pack::pack_bytes;
use serde_json::json;

use crate::console::{print_json, size};

/// Show what a pack says of itself
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the pack
    pack: PathBuf,
    /// Print the manifest, with sizes, as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let manifest = read_manifest(&self.pack)?;
        if self.json {
            print_json(&json!({ "bytes": pack_bytes(&manifest), "manifest": manifest }))?;
        } else {
            print(&manifest)?;
        }
        Ok(ExitCode::SUCCESS)
    }
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
