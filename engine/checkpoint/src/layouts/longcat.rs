//! LongCat-Flash-Lite, LongCat-2.0 and their like: one bfloat16 tensor for each column.

use std::{collections::BTreeSet, ops::Range};

use engram_format::{LayerScheme, LongCatParameters, Scheme, SchemeError, SchemeName};
use safetensors::Dtype;
use serde_json::{Value, json};

use super::{
    fields::{Fields, TokenIds},
    table::{OtherTensor, Scales, TableTensors, TensorRows},
};
use crate::error::CheckpointError;

/// Beginnings of further fields on which rows depend in models of this kind: other names of those below, the part of
/// the vocabulary that is hashed, and tokens that are left out.
const FURTHER_FIELDS: [&str; 3] = ["emb_", "text_vocab_", "special_token_scope"];
/// Whether the tokens of a scope are left out, and the scope: ranges such as `0:4,36:55`, which leave out their end.
const EXCLUDE_FIELD: &str = "ngram_exclude_sp_token";
const SCOPE_FIELD: &str = "special_token_scope";
/// The most tokens of a scope. Published ones have dozens.
const MAX_EXCLUDED: u64 = 4_096;
/// The models that are told apart, the first of which stands for others.
const MODELS: [SchemeName; 3] = [
    SchemeName::LongCatFlashLite,
    SchemeName::LongCatLite4096,
    SchemeName::LongCat2,
];

/// The fields of a LongCat configuration that concern the n-gram embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongCatConfig {
    /// Largest n-gram order.
    pub max_order: u32,
    /// Hashes of each order.
    pub heads: u32,
    /// Rows of a column, less 1, 3, 5, ...: the vocabulary times the configured ratio, rounded down.
    pub bucket_base: u64,
    /// Vocabulary size.
    pub vocab_size: u32,
    /// Tokens that read no n-gram rows and end the history: the end-of-sequence tokens, then others that the
    /// configuration lists.
    pub ignored: Vec<u32>,
    /// Width of the residual stream; the columns share it evenly.
    pub hidden_size: u32,
}

impl LongCatConfig {
    pub(super) fn published(name: SchemeName) -> Self {
        let (scheme, hidden_size) = match name {
            SchemeName::LongCatLite4096 => (LongCatParameters::longcat_lite_4096(), 4_096),
            SchemeName::LongCat2 => (LongCatParameters::longcat_2(), 8_192),
            _ => (LongCatParameters::longcat_flash_lite(), 3_072),
        };
        Self {
            max_order: scheme.max_order,
            heads: scheme.heads,
            bucket_base: scheme.bucket_base,
            vocab_size: scheme.vocab_size,
            ignored: scheme.ignored,
            hidden_size,
        }
    }

    /// The published model with the same dimensions, whatever the size of its tables.
    pub(super) fn name(&self) -> SchemeName {
        let is_like = |name: &SchemeName| {
            let other = Self::published(*name);
            let dimensions = |config: &Self| {
                (
                    config.max_order,
                    config.heads,
                    config.vocab_size,
                    config.hidden_size,
                )
            };
            dimensions(self) == dimensions(&other)
        };
        MODELS.into_iter().find(is_like).unwrap_or(MODELS[0])
    }

    pub(super) fn scale_down(&mut self, factor: u64) {
        self.bucket_base = (self.bucket_base / factor).max(1);
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Self, CheckpointError> {
        let vocab_size: u32 = fields.required(&["vocab_size"])?;
        let ratio_names = ["ngram_vocab_size_ratio", "oe_vocab_size_ratio"];
        let ratio: f64 = fields.required(&ratio_names)?;
        let bucket_base = f64::from(vocab_size) * ratio;
        // Beyond that, a product in double precision may miss the whole number that was meant.
        if !(1.0..2_f64.powi(36)).contains(&bucket_base) {
            return Err(fields.fault(ratio_names[0], ratio, "a ratio that gives 1 to 2^36 rows"));
        }
        let TokenIds(mut ignored) = fields.required(&["eos_token_id"])?;
        let listed: Vec<u32> = fields
            .optional(&["oe_ignored_token_ids"])?
            .unwrap_or_default();
        let mut known: BTreeSet<u32> = ignored.iter().copied().collect();
        let further = listed.into_iter().chain(excluded(fields, vocab_size)?);
        ignored.extend(further.filter(|&token| known.insert(token)));
        let config = Self {
            max_order: fields.required(&["emb_neighbor_num", "oe_neighbor_num"])?,
            heads: fields.required(&["emb_split_num", "oe_split_num"])?,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "rounding down is meant"
            )]
            bucket_base: bucket_base as u64,
            vocab_size,
            ignored,
            hidden_size: fields.required(&["hidden_size"])?,
        };
        if fields.optional::<bool>(&["use_oe_embedding"])? == Some(false) {
            let expected = "true, where there are fields of the embedding";
            return Err(fields.fault("use_oe_embedding", false, expected));
        }
        // How the model weighs what it has looked up.
        fields.optional::<bool>(&["ngram_fix_normalize_factor"])?;
        fields.check_all_known(&FURTHER_FIELDS)?;
        let columns = config.columns();
        if columns == 0 || !config.hidden_size.is_multiple_of(columns) {
            let expected = format!("a multiple of the {columns} columns");
            return Err(fields.fault("hidden_size", config.hidden_size, &expected));
        }
        Ok(config)
    }

    fn columns(&self) -> u32 {
        self.max_order.saturating_sub(1).saturating_mul(self.heads)
    }

    pub(super) fn to_json(&self) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "the base stays below 2^36")]
        // Half a row more, so that the product rounds down to the base again.
        let ratio = (self.bucket_base as f64 + 0.5) / f64::from(self.vocab_size);
        let eos: Value = self
            .ignored
            .first()
            .map_or(json!([]), |&token| token.into());
        let mut json = match self.name() {
            SchemeName::LongCat2 => json!({
                "model_type": "longcat",
                "oe_neighbor_num": self.max_order,
                "oe_split_num": self.heads,
                "oe_vocab_size_ratio": ratio,
            }),
            _ => json!({
                "model_type": "longcat_flash_ngram",
                "emb_neighbor_num": self.max_order,
                "emb_split_num": self.heads,
                "ngram_vocab_size_ratio": ratio,
            }),
        };
        json["vocab_size"] = self.vocab_size.into();
        json["eos_token_id"] = eos;
        json["hidden_size"] = self.hidden_size.into();
        if self.name() == SchemeName::LongCatLite4096 {
            json[EXCLUDE_FIELD] = true.into();
            json[SCOPE_FIELD] = scope_of(&self.ignored).into();
        } else if self.ignored.len() > 1 {
            json["oe_ignored_token_ids"] = self.ignored.as_slice().into();
        }
        json
    }

    pub(super) fn scheme(&self, name: &str) -> Result<Scheme, SchemeError> {
        LongCatParameters {
            name: name.into(),
            max_order: self.max_order,
            heads: self.heads,
            bucket_base: self.bucket_base,
            vocab_size: self.vocab_size,
            ignored: self.ignored.clone(),
        }
        .scheme()
    }

    pub(super) fn table_tensors(&self, layer: &LayerScheme) -> TableTensors {
        let embedders = layer
            .buckets
            .iter()
            .enumerate()
            .map(|(index, &rows)| TensorRows {
                name: format!("ngram_embeddings.embedders.{index}.weight"),
                rows,
            });
        TableTensors {
            width: self.hidden_size / self.columns(),
            dtype: Dtype::BF16,
            values: embedders.collect(),
            padded_rows: None,
            whole: None,
            scales: Scales::None,
        }
    }

    pub(super) fn other_tensors(&self) -> Vec<OtherTensor> {
        let shape = vec![
            self.hidden_size.into(),
            (self.hidden_size / self.columns()).into(),
        ];
        let projections = (0..self.columns()).map(|column| {
            let name = format!("model.ngram_embeddings.post_projs.{column}.weight");
            (name, Dtype::BF16, shape.clone())
        });
        projections.collect()
    }
}

/// The tokens of the scope, if they are left out.
fn excluded(fields: &Fields<'_>, vocab_size: u32) -> Result<Vec<u32>, CheckpointError> {
    let is_used = fields.optional::<bool>(&[EXCLUDE_FIELD])?.unwrap_or(false);
    let Some(scope) = fields
        .optional::<String>(&[SCOPE_FIELD])?
        .filter(|_| is_used)
    else {
        return Ok(Vec::new());
    };
    let range = |part: &str| -> Option<Range<u32>> {
        let (start, end) = part.split_once(':')?;
        let range = start.trim().parse().ok()?..end.trim().parse().ok()?;
        (range.start < range.end && range.end <= vocab_size).then_some(range)
    };
    let ranges: Option<Vec<Range<u32>>> = scope.split(',').map(range).collect();
    let ranges = ranges.filter(|ranges| {
        let tokens = ranges
            .iter()
            .map(|range| u64::from(range.end - range.start));
        tokens.sum::<u64>() <= MAX_EXCLUDED
    });
    let ranges = ranges.ok_or_else(|| {
        let expected = format!(
            "ranges such as 0:4,36:55 up to {vocab_size}, of at most {MAX_EXCLUDED} tokens"
        );
        fields.fault(SCOPE_FIELD, &scope, &expected)
    })?;
    Ok(ranges.into_iter().flatten().collect())
}

/// The scope of these tokens.
fn scope_of(tokens: &[u32]) -> String {
    let mut tokens = tokens.to_vec();
    tokens.sort_unstable();
    let runs = tokens.chunk_by(|token, next| token + 1 == *next);
    let range = |run: &[u32]| format!("{}:{}", run[0], run[run.len() - 1] + 1);
    runs.map(range).collect::<Vec<_>>().join(",")
}
