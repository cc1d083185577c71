//! What a GGUF file tells of a model's tables.

use std::path::PathBuf;

use engram_format::{Scheme, SourceFile, TokenMap};

use crate::locate::SourceTable;

/// The tables of a model and how tokens address them.
#[derive(Debug)]
pub(crate) struct GgufModel {
    pub(crate) folder: PathBuf,
    pub(crate) scheme: Scheme,
    /// Where the model compresses its vocabulary.
    pub(crate) token_map: Option<TokenMap>,
    pub(crate) sources: Vec<SourceFile>,
    /// One for each layer of the scheme.
    pub(crate) tables: Vec<SourceTable>,
}
