mod data;
mod entry;
mod lines;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use engram::{LayerId, read_hasher};
use engram_io::publish_bytes;
use engram_kit::{
    console::size, envelope::Outcome, moved_stripes::MovedStripes, progress::Progress, report, say,
};
use engram_overlay::{Durability, Edits, Key, Overlay, OverlayReader, Snapshot};
use serde_json::json;

use crate::{CompactOptions, compact, compacted_bytes};

use data::DataArgs;
use entry::EntryArgs;

/// Edit rows of a pack in an overlay, by row id or by exact n-gram
#[derive(clap::Args)]
#[command(after_help = "\
A row that is edited by its id changes for every n-gram that reads it. An exact n-gram has a row of its own for each
head, which no other n-gram reads. What is served: the exact n-gram, then the edited row, then the pack.

Examples:
  engram-pack edit pack overlay set --layer 1 --tokens 15,3 --from rows.npy
  engram-pack edit pack overlay set --layer 1 --prompt ' of France' --tokenizer tokenizer.json --from rows.json
  engram-pack edit pack overlay set --layer 1 --row 7 --values '[0.5, ...]'
  engram-pack edit pack overlay list
  engram-pack edit pack overlay export -o edits.jsonl
  engram-pack edit pack overlay compact -o folded")]
pub(crate) struct Args {
    /// Folder of the pack
    pack: PathBuf,
    /// Folder of the overlay; `set` and `import` make it
    overlay: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serve other rows for an entry from now on
    Set {
        #[command(flatten)]
        entry: EntryArgs,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Print the rows of an entry, [head][value]
    Get {
        #[command(flatten)]
        entry: EntryArgs,
    },
    /// Print the entries
    List {
        /// Of this layer alone
        #[arg(long, value_name = "L")]
        layer: Option<LayerId>,
        /// Entries that are printed at most
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        limit: usize,
    },
    /// Take an entry away, so that the row is served that would be without it
    Remove {
        #[command(flatten)]
        entry: EntryArgs,
    },
    /// Write all entries to a file, a line of JSON each
    Export {
        /// The file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Make all edits of such a file, together or not at all
    Import {
        /// The file
        file: PathBuf,
    },
    /// Count the entries
    Stat,
    /// Fold the edited rows into a new pack; exact n-grams go to an overlay of it
    Compact {
        /// Folder of the new pack
        #[arg(short, long, value_name = "PACK")]
        output: PathBuf,
        /// Folder of the new pack's overlay, needed if there are exact n-grams; must be empty or missing
        #[arg(long, value_name = "OVERLAY")]
        ngrams: Option<PathBuf>,
        /// Go on with an unfinished run
        #[arg(long)]
        resume: bool,
        /// Columns written at a time [default: twice the cores, up to 8]
        #[arg(long, value_name = "J", default_value_t = 0, hide_default_value = true)]
        jobs: usize,
        /// Where the checkpoint behind an attached pack lies now
        #[arg(long, value_name = "DIR")]
        checkpoint: Option<PathBuf>,
        #[command(flatten)]
        moved: MovedStripes,
    },
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let (pack, path) = (&self.pack, &self.overlay);
        // One that is not there has no entries to tell of.
        let read = || Ok::<_, anyhow::Error>(OverlayReader::open(pack, path)?.snapshot());
        let open = || Overlay::open(pack, path, Durability::Drive);
        let outcome = match self.action {
            Action::Set { entry, data } => {
                let key = entry.key(&read_hasher(pack)?)?;
                let mut edits = Edits::new();
                edits.set(entry.layer, key, data.read()?);
                written(open()?.write(&edits)?, 1)
            }
            Action::Remove { entry } => {
                let key = entry.key(&read_hasher(pack)?)?;
                let overlay = existing(pack, path)?;
                let is_there = overlay.snapshot().get(entry.layer, &key)?.is_some();
                ensure!(
                    is_there,
                    "layer {} has no entry for {}",
                    entry.layer,
                    entry::name(&key)
                );
                let mut edits = Edits::new();
                edits.remove(entry.layer, key);
                written(overlay.write(&edits)?, 1)
            }
            Action::Import { file } => {
                let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                let edits = lines::read(&text).with_context(|| file.display().to_string())?;
                written(open()?.write(&edits)?, edits.len())
            }
            Action::Get { entry } => {
                let key = entry.key(&read_hasher(pack)?)?;
                get(&read()?, entry.layer, &key)
            }
            Action::List { layer, limit } => list(&read()?, layer, limit),
            Action::Export { output } => {
                let (text, entries) = lines::write(&read()?)?;
                publish_bytes(&output, text.as_bytes())?;
                say!("{}: {entries} entries", output.display());
                Outcome::new(&json!({ "output": output, "entries": entries }))
            }
            Action::Stat => stat(&read()?),
            Action::Compact {
                output,
                ngrams,
                resume,
                jobs,
                checkpoint,
                moved,
            } => {
                let options = CompactOptions {
                    jobs,
                    resume,
                    checkpoint,
                    moved_stripes: moved.by_number(),
                    ..CompactOptions::default()
                };
                fold(pack, &read()?, &output, ngrams.as_deref(), &options)
            }
        };
        Ok(outcome?.of_pack(pack))
    }
}

/// Opens an overlay that is there, to write it.
fn existing(pack: &Path, path: &Path) -> Result<Overlay> {
    // Opening one to write it would make it.
    OverlayReader::open(pack, path)?;
    Ok(Overlay::open(pack, path, Durability::Drive)?)
}

fn written(version: u64, edits: usize) -> Result<Outcome> {
    say!("{edits} edits, version {version}");
    Outcome::new(&json!({ "edits": edits, "version": version }))
}

fn get(snapshot: &Snapshot, layer: LayerId, key: &Key) -> Result<Outcome> {
    let rows = snapshot.get(layer, key)?;
    let rows =
        rows.with_context(|| format!("layer {layer} has no entry for {}", entry::name(key)))?;
    let codec = snapshot.shape().codec(layer)?;
    let mut values = vec![0.0; rows.len() / codec.row_bytes() * codec.width()];
    codec.decode_f32(rows, &mut values);
    let values: Vec<&[f32]> = values.chunks_exact(codec.width()).collect();
    for row in &values {
        let row: Vec<String> = row.iter().map(f32::to_string).collect();
        say!("{}", row.join(" "));
    }
    Outcome::new(&json!({ "layer": layer, "entry": entry::json(key), "values": values }))
}

fn list(snapshot: &Snapshot, layer: Option<LayerId>, limit: usize) -> Result<Outcome> {
    let mut found = Vec::new();
    let layers = snapshot.shape().layers();
    for layer in layers.filter(|of| layer.is_none_or(|layer| *of == layer)) {
        let mut keys: Vec<Key> = snapshot.entries(layer)?.map(|(key, _)| key).collect();
        keys.sort();
        found.extend(keys.into_iter().map(|key| (layer, key)));
    }
    if let Some(layer) = layer {
        snapshot.shape().codec(layer)?;
    }
    let all = found.len();
    found.truncate(limit);
    for (layer, key) in &found {
        say!("layer {layer}  {}", entry::name(key));
    }
    if all > found.len() {
        say!("and {} more", all - found.len());
    }
    let listed = found
        .iter()
        .map(|(layer, key)| json!({ "layer": layer, "entry": entry::json(key) }));
    Outcome::new(&json!({ "entries": all, "listed": listed.collect::<Vec<_>>() }))
}

fn stat(snapshot: &Snapshot) -> Result<Outcome> {
    let orders = 2..=snapshot.shape().max_order();
    let ngrams: Vec<String> = orders.map(|order| format!("{order}-grams")).collect();
    let head: Vec<&str> = ["layer", "rows"]
        .into_iter()
        .chain(ngrams.iter().map(String::as_str))
        .collect();
    let mut counts = Vec::new();
    for layer in snapshot.shape().layers() {
        counts.push((layer, snapshot.counts(layer)?));
    }
    let rows = counts.iter().map(|(layer, counts)| {
        let counts = counts.iter().map(usize::to_string);
        std::iter::once(layer.to_string()).chain(counts).collect()
    });
    report::table(&head, &rows.collect::<Vec<Vec<String>>>())?;
    let (version, memory) = (snapshot.version(), snapshot.bytes());
    say!("version {version}, {} of memory", size(memory as u64));
    let layers = counts
        .iter()
        .map(|(layer, counts)| json!({ "layer": layer, "rows": counts[0], "ngrams": counts[1..] }));
    Outcome::new(&json!({
        "version": version,
        "memory_bytes": memory,
        "pack": snapshot.shape().identity().to_string(),
        "layers": layers.collect::<Vec<_>>(),
    }))
}

fn fold(
    pack: &Path,
    snapshot: &Snapshot,
    output: &Path,
    ngrams: Option<&Path>,
    options: &CompactOptions,
) -> Result<Outcome> {
    let progress = Progress::new(compacted_bytes(pack)?, "folding");
    let found = compact(pack, snapshot, output, ngrams, options, &|bytes| {
        progress.add(bytes)
    })?;
    progress.finish();
    say!(
        "{}: {} edited rows are part of it",
        output.display(),
        found.rows
    );
    if let (Some(path), 1..) = (ngrams, found.ngrams) {
        say!(
            "{}: {} exact n-grams, which no row can hold",
            path.display(),
            found.ngrams
        );
    }
    Outcome::new(&found)
}
