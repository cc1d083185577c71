mod output;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, ValueEnum};
use engram::{
    Batch, Config, LayerId, Reader, RowId, RowIds, Sequence, Storage, Store, ValueType,
    read_manifest,
};
use engram_kit::{envelope::Outcome, moved_stripes::MovedStripes};
use serde_json::json;

use super::tokens::TokenArgs;
use output::Output;

/// Rows read at a time.
const CHUNK: usize = 4_096;

/// Print rows, or write them to a file
#[derive(clap::Args)]
#[command(
    group(ArgGroup::new("which").args(["row", "tokens", "prompt", "text"]).required(true)),
    after_help = "\
Rows of tokens are [position][column].

Examples:
  engram-pack get pack --layer 1 --row 7 --as values
  engram-pack get pack --layer 1 --tokens 0,3,15 --as npy -o rows.npy
  engram-pack get pack --layer 1 --text book.txt --tokenizer tokenizer.json --as bf16 -o rows.bf16"
)]
pub(crate) struct Args {
    /// Folder of the pack
    pack: PathBuf,
    /// The model's layer id
    #[arg(long, value_name = "L")]
    layer: LayerId,
    /// Row ids in the layer's table
    #[arg(long, value_name = "R,R,...", value_delimiter = ',')]
    row: Vec<u64>,
    #[command(flatten)]
    tokens: TokenArgs,
    /// What is written of each row
    #[arg(long = "as", value_name = "FORM", default_value = "hex")]
    form: Form,
    /// Where it is written, `-` for standard output; forms other than hex and values need it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where the checkpoint behind an attached pack lies now
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    moved: MovedStripes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The stored bytes in hexadecimal, a line a row
    Hex,
    /// The decoded values in decimal, a line a row
    Values,
    /// The stored bytes
    Raw,
    /// Decoded, little-endian binary32
    F32,
    /// Decoded, little-endian binary16
    F16,
    /// Decoded, little-endian bfloat16
    Bf16,
    /// Decoded, a NumPy file of binary32
    Npy,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        // A few rows need no threads, but for those of a cold pack.
        let reader = match read_manifest(&self.pack)?.storage {
            Storage::Cold { .. } => Reader::Direct,
            Storage::Packed | Storage::Attached { .. } => Reader::Pread,
        };
        let mut config = Config::new().reader(reader);
        config.checkpoint.clone_from(&self.checkpoint);
        config.stripes = self.moved.by_number();
        let store = Store::open(&self.pack, config)?;
        let codec = store.codec(self.layer)?;
        let rows = self.rows(&store)?;
        let mut output = Output::new(self.form, self.output.as_deref(), codec, rows.len())?;
        let mut bytes = Vec::new();
        for rows in rows.chunks(CHUNK) {
            bytes.resize(rows.len() * codec.row_bytes(), 0);
            store.lookup(Batch::new(self.layer, rows), &mut bytes)?;
            output.write(&bytes)?;
        }
        let lines = output.finish()?;
        let report = json!({
            "layer": self.layer,
            "row_ids": rows,
            "codec": codec,
            "output": self.output,
            "rows": lines,
        });
        Ok(Outcome::new(&report)?.of_pack(&self.pack))
    }

    fn rows(&self, store: &Store) -> Result<Vec<RowId>> {
        if !self.tokens.is_given() {
            return Ok(self.row.iter().copied().map(RowId).collect());
        }
        let tokens = self.tokens.read()?;
        ensure!(!tokens.is_empty(), "the text has no tokens");
        let index = store.scheme().layer_index(self.layer);
        let index = index.context("the layer has a table")?;
        let mut ids = RowIds::new();
        let hasher = store.hasher();
        hasher.extend(&mut Sequence::new(), &tokens, &mut ids)?;
        Ok(ids.layer(index).to_vec())
    }
}

impl Form {
    /// The type of the values; none of those that are not decoded.
    fn value_type(self) -> Option<ValueType> {
        match self {
            Self::Hex | Self::Raw => None,
            Self::Values | Self::F32 | Self::Npy => Some(ValueType::F32),
            Self::F16 => Some(ValueType::F16),
            Self::Bf16 => Some(ValueType::Bf16),
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Hex | Self::Values)
    }
}
