//! A checkpoint of a decoder with Engram layers that has learned nothing.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use engram::SchemeName;
use engram_checkpoint::{
    CONFIG_FILE, Family, INDEX_FILE, TOKENIZER_FILE, read_json, read_token_map,
};
use engram_io::publish_bytes;
use engram_model::{Config, Model};
use engram_pack::write_checkpoint;
use serde::Serialize;
use serde_json::{Map, Value, json};

const DECODER_FILE: &str = "model-decoder.safetensors";

/// Sizes that differ from those of the published model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// How many times smaller tables are.
    pub(crate) scale: u64,
    pub(crate) layers: usize,
    pub(crate) hidden: u64,
    pub(crate) experts: usize,
}

/// The checkpoint that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) parameters: usize,
    /// Rows of each table.
    pub(crate) rows: Vec<u64>,
}

/// Writes the checkpoint to the folder `out`, which must be empty or missing.
///
/// Tables and blocks are in the layout of DeepSeek-V4.1-Flash, ahead of layer 1 and of one after a third of the layers;
/// the decoder is one of DeepSeek-V3 with DeepSeek-V4's hyper-connections.
pub(crate) fn synth(tokenizer: &Path, sizes: &Sizes, seed: u64, out: &Path) -> Result<Made> {
    ensure!(sizes.scale > 0, "--scale is 0, expected 1 or more");
    ensure!(
        sizes.layers > 5,
        "--layers is {}, expected 6 or more",
        sizes.layers
    );
    ensure!(
        sizes.hidden > 0 && sizes.hidden.is_multiple_of(32),
        "--hidden is {}, expected a multiple of 32",
        sizes.hidden
    );
    ensure!(
        sizes.experts > 1,
        "--experts is {}, expected 2 or more",
        sizes.experts
    );
    let map = read_token_map(out, Some(tokenizer))?;
    let vocab_size = map.ids().len();
    let classes = map.ids().iter().max().map_or(0, |&id| id + 1);
    let mut family = Family::published(SchemeName::DeepSeekV41Flash).scaled_down(sizes.scale);
    if let Family::DeepSeek(config) = &mut family {
        config.hidden_size = sizes.hidden;
        config.layers = vec![1, u32::try_from(sizes.layers / 3)?];
        config.compressed_vocab_size = classes;
    }
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    ensure!(
        fs::read_dir(out)?.next().is_none(),
        "{} is not empty",
        out.display()
    );
    publish_bytes(&out.join(TOKENIZER_FILE), &fs::read(tokenizer)?)?;
    let tables = write_checkpoint(&family, Some(&map), seed, out, &|_| ())?;
    join_config(out, sizes, vocab_size)?;
    let config = Config::from_file(out.join(CONFIG_FILE))?;
    let decoder = Model::fresh_tensors(&config, seed)?;
    let parameters = decoder.values().map(Tensor::elem_count).sum();
    write_decoder(out, decoder)?;
    Ok(Made {
        parameters,
        rows: tables.rows,
    })
}

/// Adds the fields of the decoder to the configuration that the tables have.
fn join_config(out: &Path, sizes: &Sizes, vocab_size: usize) -> Result<()> {
    let path = out.join(CONFIG_FILE);
    let mut engram: Map<String, Value> = read_json(&path)?;
    let mut fields = Map::new();
    if let Some(Value::Object(text)) = engram.remove("text_config") {
        fields.extend(
            text.into_iter()
                .filter(|(name, _)| name.starts_with("engram_")),
        );
    }
    let hidden = sizes.hidden;
    let decoder = json!({
        "model_type": "deepseek_v3",
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "moe_intermediate_size": hidden / 2,
        "num_hidden_layers": sizes.layers,
        "first_k_dense_replace": 1,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "q_lora_rank": hidden / 2,
        "kv_lora_rank": 128,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
        "n_routed_experts": sizes.experts,
        "n_shared_experts": 1,
        "num_experts_per_tok": 4.min(sizes.experts),
        "n_group": 1,
        "topk_group": 1,
        "routed_scaling_factor": 1.0,
        "rms_norm_eps": 1e-20,
        "hc_mult": 4,
        "hc_sinkhorn_iters": 20,
        "hc_eps": 1e-6,
        "eos_token_id": 1,
    });
    if let Value::Object(decoder) = decoder {
        fields.extend(decoder);
    }
    write_json(&path, &fields)
}

/// Writes the decoder's tensors to a file of their own and names them in the index.
fn write_decoder(out: &Path, tensors: BTreeMap<String, Tensor>) -> Result<()> {
    let path = out.join(INDEX_FILE);
    let mut index: Value = read_json(&path)?;
    for name in tensors.keys() {
        index["weight_map"][name] = DECODER_FILE.into();
    }
    publish_bytes(
        &out.join(DECODER_FILE),
        &safetensors::serialize(&tensors, None)?,
    )?;
    write_json(&path, &index)
}

/// Replaces the file at `path` by `value`, whole or not at all.
fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    Ok(publish_bytes(path, text.as_bytes())?)
}
