use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::ValueEnum;
use engram::{Batch, Config, LayerId, Reader, RowId, Store};
use engram_kit::say;

use super::stripe::MovedStripes;

/// Print one row
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the pack
    pack: PathBuf,
    /// The model's layer id
    #[arg(long, value_name = "L")]
    layer: LayerId,
    /// Row id in the layer's table
    #[arg(long, value_name = "R")]
    row: u64,
    /// Stored bytes, or decoded values
    #[arg(long = "as", value_name = "FORM", default_value = "hex")]
    form: Form,
    /// Where the checkpoint behind an attached pack lies now
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    moved: MovedStripes,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Hex,
    F32,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut config = Config::new().reader(Reader::Pread);
        (config.checkpoint, config.stripes) = (self.checkpoint, self.moved.by_number());
        let store = Store::open(&self.pack, config)?;
        let codec = store.codec(self.layer)?;
        let mut row = vec![0; codec.row_bytes()];
        let rows = [RowId(self.row)];
        let batch = Batch::new(self.layer, &rows);
        store.lookup(batch, &mut row)?;
        match self.form {
            Form::Hex => say!(
                "{}",
                row.iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            ),
            Form::F32 => {
                let mut values = vec![0.0; codec.width()];
                codec.decode_f32(&row, &mut values);
                let values: Vec<String> = values.iter().map(f32::to_string).collect();
                say!("{}", values.join(" "));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
