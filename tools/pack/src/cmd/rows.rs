use std::path::PathBuf;

use anyhow::Result;
use clap::ArgGroup;
use engram::{Hasher, LayerId, RowId, RowIds, SchemeName, Sequence, read_hasher};
use engram_checkpoint::builtin_token_map;
use engram_kit::{envelope::Outcome, say};
use serde_json::json;

use super::tokens::{SOURCES, TokenArgs};

/// Print the row ids that tokens read, as [position][layer][column]
#[derive(clap::Args)]
#[command(
    group(ArgGroup::new("sources").args(SOURCES).required(true)),
    after_help = "\
Examples:
  engram-pack rows pack --tokens 0,3,15
  engram-pack rows pack --prompt 'The sea' --tokenizer tokenizer.json --json | jq .report.rows
  engram-pack rows --scheme deepseek-v4.1-flash --tokens 0,3,15 --dead 1"
)]
pub(crate) struct Args {
    /// Folder of a pack, whose scheme is used
    #[arg(required_unless_present = "scheme", conflicts_with = "scheme")]
    pack: Option<PathBuf>,
    /// A known model instead of a pack, at full size
    #[arg(long, value_name = "NAME")]
    scheme: Option<SchemeName>,
    #[command(flatten)]
    tokens: TokenArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let tokens = self.tokens.read()?;
        let hasher = match (&self.pack, self.scheme) {
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
        for (position, per_layer) in rows.iter().enumerate() {
            for (layer, ids) in layers.iter().zip(per_layer) {
                let ids: Vec<String> = ids.iter().map(RowId::to_string).collect();
                say!("position {position} layer {layer}: {}", ids.join(" "));
            }
        }
        let scheme = &hasher.scheme().name;
        let outcome = Outcome::new(
            &json!({ "scheme": scheme, "layers": layers, "tokens": tokens, "rows": rows }),
        )?;
        Ok(match &self.pack {
            Some(pack) => outcome.of_pack(pack),
            None => outcome,
        })
    }
}
