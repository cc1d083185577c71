//! Writes a checkpoint in a model's own layout, smaller and with made-up contents.
//!
//! Every byte is a function of the seed, the tensor's name and the place, so two runs give the same
//! files, and every value is a number.

mod fill;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use engram_checkpoint::{
    CONFIG_FILE, Dtype, Family, INDEX_FILE, PLAIN_TOKEN_MAP_FILE, Scales, TOKENIZER_FILE,
    builtin_token_map, is_plain_token_map, read_token_map,
};
use engram_format::{Scheme, SchemeName, TokenMap};
use engram_io::{NewFile, publish_bytes};
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;
use serde_json::json;

use crate::{
    Progress,
    claim::{Claim, Work},
};
use fill::Fill;

/// Tensor bytes made at a time.
const CHUNK_BYTES: usize = 1 << 20;
const TENSORS_START: &str = "model-";
const TENSORS_END: &str = ".safetensors";
/// Safetensors readers expect data to start at a multiple of this.
const HEADER_ALIGN: usize = 8;

const SYNTH: Work = Work {
    name: "synth",
    mark: "synth.unfinished",
    is_leaving: |path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        [
            CONFIG_FILE,
            INDEX_FILE,
            PLAIN_TOKEN_MAP_FILE,
            TOKENIZER_FILE,
        ]
        .contains(&name)
            || (name.starts_with(TENSORS_START) && name.ends_with(TENSORS_END))
    },
};

/// What checkpoint to make.
#[derive(Debug, Clone)]
pub struct SynthOptions {
    /// The model.
    pub scheme: SchemeName,
    /// How many times smaller its tables are.
    pub scale: u64,
    /// Seed of the contents.
    pub seed: u64,
    /// The model's `tokenizer.json`; else the built-in token map goes into the checkpoint.
    pub tokenizer: Option<PathBuf>,
}

/// What a checkpoint of a family is filled with.
#[derive(Debug, Clone)]
pub struct SynthContents {
    /// How many times smaller its tables are.
    pub scale: u64,
    /// Seed of the contents.
    pub seed: u64,
    /// The model's `tokenizer.json`, if there is no other token map.
    pub tokenizer: Option<PathBuf>,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct SynthReport {
    /// Name of the scheme.
    pub scheme: String,
    /// Rows of each table.
    pub rows: Vec<u64>,
    /// Safetensors files.
    pub files: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
}

struct TensorPlan {
    name: String,
    dtype: Dtype,
    shape: Vec<u64>,
    bytes: u64,
}

/// Writes the checkpoint to the folder `out`, which must be empty or missing.
///
/// # Errors
/// A scale that leaves no rows, a tokenizer of another model, or a folder that another process fills or that cannot be
/// written. What was made until then is removed.
pub fn synth(options: &SynthOptions, out: &Path, progress: Progress<'_>) -> Result<SynthReport> {
    let contents = SynthContents {
        scale: options.scale,
        seed: options.seed,
        tokenizer: options.tokenizer.clone(),
    };
    let builtin = builtin_token_map(options.scheme);
    let family = Family::published(options.scheme);
    synth_family(&family, builtin.as_ref(), &contents, out, progress)
}

/// As [`synth`], a checkpoint of `family`, whose token map is `builtin` if no tokenizer is given.
///
/// # Errors
/// As there.
pub fn synth_family(
    family: &Family,
    builtin: Option<&TokenMap>,
    contents: &SynthContents,
    out: &Path,
    progress: Progress<'_>,
) -> Result<SynthReport> {
    ensure!(contents.scale > 0, "--scale is 0, expected 1 or more");
    let family = family.scaled_down(contents.scale);
    let tokenizer = contents.tokenizer.as_deref();
    family.check_tokenizer(tokenizer)?;
    let token_map = match tokenizer {
        Some(path) => Some(read_token_map(out, Some(path))?),
        None => builtin.cloned(),
    };
    let claim = Claim::take(out, &SYNTH, || Ok(()))?;
    if claim.finished_work()?.is_some() {
        bail!("the folder {} is not empty", out.display());
    }
    claim.begin(SYNTH.name)?;
    match fill(contents, &family, token_map.as_ref(), out, progress) {
        Ok(report) => claim.end().map(|()| report),
        Err(error) => {
            claim.abandon();
            Err(error)
        }
    }
}

/// Fills the folder `out`, which is empty.
fn fill(
    contents: &SynthContents,
    family: &Family,
    token_map: Option<&TokenMap>,
    out: &Path,
    progress: Progress<'_>,
) -> Result<SynthReport> {
    match (contents.tokenizer.as_deref(), token_map) {
        (Some(path), _) => {
            let name = if is_plain_token_map(path) {
                PLAIN_TOKEN_MAP_FILE
            } else {
                TOKENIZER_FILE
            };
            publish_bytes(&out.join(name), &fs::read(path)?)?;
        }
        (None, Some(map)) => publish_bytes(&out.join(PLAIN_TOKEN_MAP_FILE), &map.to_bytes())?,
        (None, None) => {}
    }
    write_checkpoint(family, token_map, contents.seed, out, progress)
}

/// Writes the configuration and the tensors of `family` to the folder `out`, which must be there.
///
/// # Errors
/// A configuration from which no scheme follows, or a folder that cannot be written.
pub fn write_checkpoint(
    family: &Family,
    token_map: Option<&TokenMap>,
    seed: u64,
    out: &Path,
    progress: Progress<'_>,
) -> Result<SynthReport> {
    let start = Instant::now();
    let scheme = family.scheme(token_map)?;
    let config = serde_json::to_string_pretty(&family.to_json(&scheme))? + "\n";
    publish_bytes(&out.join(CONFIG_FILE), config.as_bytes())?;

    let files: Vec<Vec<TensorPlan>> = plan(family, &scheme);
    let total: u64 = files.iter().flatten().map(|tensor| tensor.bytes).sum();
    let mut weight_map = BTreeMap::new();
    for (index, tensors) in files.iter().enumerate() {
        let name = format!(
            "{TENSORS_START}{:05}-of-{:05}{TENSORS_END}",
            index + 1,
            files.len()
        );
        write_file(&out.join(&name), tensors, seed, progress)
            .with_context(|| format!("cannot make {name}"))?;
        weight_map.extend(
            tensors
                .iter()
                .map(|tensor| (tensor.name.clone(), name.clone())),
        );
    }
    let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
    publish_bytes(
        &out.join(INDEX_FILE),
        (serde_json::to_string_pretty(&index)? + "\n").as_bytes(),
    )?;
    Ok(SynthReport {
        rows: scheme.layers.iter().map(|layer| layer.row_count).collect(),
        scheme: scheme.name,
        files: files.len(),
        bytes: total,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The tensors of each file: the table of one layer with the rest of its Engram block, as DeepSeek
/// ships them, where all values are in one tensor; else a quarter of the tensors of values.
fn plan(family: &Family, scheme: &Scheme) -> Vec<Vec<TensorPlan>> {
    let mut files = Vec::new();
    for (index, layer) in scheme.layers.iter().enumerate() {
        let table = family.table_tensors(scheme, index);
        let width = u64::from(table.width);
        let prefix = match family {
            Family::Qwen(_) | Family::Gemma(_) => "model.language_model.",
            Family::LongCat(_) => "model.",
            Family::Demo(_) | Family::DeepSeek(_) | Family::OverEncoding(_) => "",
        };
        let named = |name: &str| format!("{prefix}{name}");
        let values: Vec<_> = table
            .values
            .iter()
            .map(|tensor| {
                TensorPlan::new(named(&tensor.name), table.dtype, vec![tensor.rows, width])
            })
            .collect();
        let per_file = values.len().div_ceil(4);
        let mut values = values.into_iter();
        loop {
            let file: Vec<_> = values.by_ref().take(per_file).collect();
            if file.is_empty() {
                break;
            }
            files.push(file);
        }
        let last = files.last_mut().expect("a table has tensors");
        match &table.scales {
            // Values of 16 bits need none.
            Scales::None | Scales::Named { .. } => {}
            Scales::Rows { name, group } => {
                let shape = vec![layer.row_count, width / u64::from(*group)];
                last.push(TensorPlan::new(named(name), Dtype::F8_E8M0, shape));
            }
            Scales::Single { name } => {
                last.push(TensorPlan::new(named(name), Dtype::BF16, vec![1]));
            }
        }
        let others = family.other_tensors(layer.id).into_iter();
        last.extend(others.map(|(name, dtype, shape)| TensorPlan::new(name, dtype, shape)));
    }
    files
}

impl TensorPlan {
    fn new(name: String, dtype: Dtype, shape: Vec<u64>) -> Self {
        let bytes = shape.iter().product::<u64>() * dtype.bitsize() as u64 / 8;
        Self {
            name,
            dtype,
            shape,
            bytes,
        }
    }
}

fn write_file(
    path: &Path,
    tensors: &[TensorPlan],
    seed: u64,
    progress: Progress<'_>,
) -> Result<()> {
    let header = header(tensors)?;
    let bytes: u64 = tensors.iter().map(|tensor| tensor.bytes).sum();
    let mut file = NewFile::create(path, header.len() as u64 + bytes)?;
    file.write(&header)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    for tensor in tensors {
        let fill = Fill::new(seed, &tensor.name, tensor.dtype)?;
        let mut offset = 0;
        while offset < tensor.bytes {
            let len = usize::try_from(tensor.bytes - offset)
                .map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            fill.write(offset, &mut chunk[..len]);
            file.write(&chunk[..len])?;
            offset += len as u64;
            progress(len as u64);
        }
    }
    Ok(file.publish()?)
}

fn header(tensors: &[TensorPlan]) -> Result<Vec<u8>> {
    let mut start = 0;
    let infos = tensors.iter().map(|tensor| {
        let end = start + usize::try_from(tensor.bytes)?;
        let info = TensorInfo {
            dtype: tensor.dtype,
            shape: tensor
                .shape
                .iter()
                .map(|&n| usize::try_from(n))
                .collect::<Result<_, _>>()?,
            data_offsets: (start, end),
        };
        start = end;
        anyhow::Ok((tensor.name.clone(), info))
    });
    let metadata = Metadata::new(None, infos.collect::<Result<_>>()?)?;
    let mut json = serde_json::to_vec(&metadata)?;
    json.resize(json.len().next_multiple_of(HEADER_ALIGN), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    Ok(header)
}
