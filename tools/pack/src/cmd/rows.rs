use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use engram::{DEAD, Hasher, LayerId, RowId, RowIds, SchemeName, Sequence, read_hasher};
use engram_checkpoint::builtin_token_map;
use engram_kit::{console::print_json, say};
use serde_json::json;

/// Print the row ids that tokens read, as [position][layer][column]
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a pack, whose scheme is used
    #[arg(required_unless_present = "scheme", conflicts_with = "scheme")]
    pack: Option<PathBuf>,
    /// A known model instead of a pack, at full size
    #[arg(long, value_name = "NAME")]
    scheme: Option<SchemeName>,
    /// Raw token ids from the start of a sequence
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',', required = true)]
    tokens: Vec<u32>,
    /// Positions that read no rows of their own, such as image tokens
    #[arg(long, value_name = "POSITION,...", value_delimiter = ',')]
    dead: Vec<usize>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut tokens = self.tokens;
        ensure!(
            !tokens.contains(&DEAD),
            "token {DEAD} is outside every vocabulary; name dead positions by --dead"
        );
        for position in self.dead {
            let count = tokens.len();
            let token = tokens.get_mut(position);
            *token.with_context(|| {
                format!("dead position {position} is outside the {count} tokens")
            })? = DEAD;
        }
        let hasher = match (self.pack, self.scheme) {
            (Some(pack), _) => read_hasher(pack)?,
            (None, Some(name)) => Hasher::new(name.scheme(), builtin_token_map(name))?,
            (None, None) => unreachable!("clap asks for one of them"),
        };
        let mut rows = RowIds::new();
        hasher.extend(&mut Sequence::new(), &tokens, &mut rows)?;

        let layers: Vec<LayerId> = hasher
            .scheme()
            .layers
            .iter()
            .map(|layer| layer.id)
            .collect();
        let rows: Vec<Vec<&[RowId]>> = (0..rows.positions())
            .map(|position| {
                (0..layers.len())
                    .map(|layer| rows.position(layer, position))
                    .collect()
            })
            .collect();
        if self.json {
            print_json(&json!({ "scheme": hasher.scheme().name, "layers": layers, "rows": rows }))?;
        } else {
            for (position, per_layer) in rows.iter().enumerate() {
                for (layer, ids) in layers.iter().zip(per_layer) {
                    let ids: Vec<String> = ids.iter().map(RowId::to_string).collect();
                    say!("position {position} layer {layer}: {}", ids.join(" "));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
