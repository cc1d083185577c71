//! A checkpoint whose tables have been found and checked against its configuration.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use engram_format::{Scheme, Segment, SourceFile, TokenMap};

use crate::{
    error::CheckpointError,
    gguf::{self, GgufModel},
    layouts::{CONFIG_FILE, Family, TableTensors},
    locate::{SourceTable, check_stored_constants, locate},
    prefix::{ModelPrefix, model_prefix},
    tensors::TensorFiles,
    token_map::read_token_map,
};

/// Where the rows of a model lie in its checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The checkpoint's folder.
    pub folder: PathBuf,
    /// How tokens address rows.
    pub scheme: Scheme,
    /// Vocabulary compression, where the model has one.
    pub token_map: Option<TokenMap>,
    /// The files that hold parts of rows, and only those.
    pub sources: Vec<SourceFile>,
    /// One for each layer of the scheme.
    pub tables: Vec<SourceTable>,
    /// What its owner should know though it is no fault, each a sentence.
    pub notes: Vec<String>,
}

impl Checkpoint {
    /// Reads the configuration, the tokenizer and the headers of the checkpoint in the folder `path`, or all of it from
    /// the GGUF file `path` and the other parts of it, where it is split. If `tokenizer` is given, the tokenizer or
    /// plain token map at that path is used instead of the checkpoint's own.
    ///
    /// # Errors
    /// A file that is missing, too large or damaged, a configuration of no known family, a tokenizer for a model that
    /// hashes raw ids, tensors of another shape or type than the configuration says, or tables with other row counts
    /// than its scheme.
    pub fn open(path: &Path, tokenizer: Option<&Path>) -> Result<Self, CheckpointError> {
        if gguf::is_gguf(path) {
            gguf::open(path, tokenizer).map(Self::from_gguf)
        } else {
            Self::open_folder(path, tokenizer)
        }
    }

    fn from_gguf(model: GgufModel) -> Self {
        let mut checkpoint = Self {
            folder: model.folder,
            scheme: model.scheme,
            token_map: model.token_map,
            sources: model.sources,
            tables: model.tables,
            notes: Vec::new(),
        };
        checkpoint.drop_unused_sources();
        checkpoint
    }

    fn open_folder(folder: &Path, tokenizer: Option<&Path>) -> Result<Self, CheckpointError> {
        let family = Family::read(folder)?;
        let in_config = |cause| CheckpointError::Scheme {
            path: folder.join(CONFIG_FILE),
            cause,
        };
        family.check_tokenizer(tokenizer).map_err(in_config)?;
        let token_map = family
            .compresses()
            .then(|| read_token_map(folder, tokenizer))
            .transpose()?;
        let scheme = family.scheme(token_map.as_ref()).map_err(in_config)?;
        let mut files = TensorFiles::open(folder)?;
        let found = match Found::new(&files, &family, &scheme) {
            Err(CheckpointError::MissingTensor {
                folder,
                name,
                nearest,
            }) => {
                let unlisted = files.add_unlisted();
                if unlisted.is_empty() {
                    return Err(CheckpointError::MissingTensor {
                        folder,
                        name,
                        nearest,
                    });
                }
                let mut found = Found::new(&files, &family, &scheme)?;
                found.notes.push(format!(
                    "the index does not list `{}`, which hold tensors of the tables",
                    unlisted.join("`, `")
                ));
                found
            }
            found => found?,
        };
        let mut checkpoint = Self {
            folder: folder.into(),
            scheme,
            token_map,
            sources: files.files().to_vec(),
            tables: found.tables,
            notes: found.notes,
        };
        checkpoint.drop_unused_sources();
        Ok(checkpoint)
    }

    /// Rows of padding of all tables.
    pub fn padding_rows(&self) -> u64 {
        self.tables.iter().map(|table| table.padding_rows).sum()
    }

    /// A model has dozens of files without rows; a pack should not depend on them.
    fn drop_unused_sources(&mut self) {
        let planes = self.tables.iter_mut().flat_map(|table| &mut table.planes);
        let mut segments: Vec<&mut Segment> =
            planes.flat_map(|plane| &mut plane.segments).collect();
        let used: BTreeSet<u32> = segments.iter().map(|segment| segment.source).collect();
        for segment in &mut segments {
            let index = used.range(..segment.source).count();
            segment.source = u32::try_from(index).expect("it is below the number it replaces");
        }
        let sources = used
            .iter()
            .map(|&source| self.sources[source as usize].clone());
        self.sources = sources.collect();
    }
}

/// The tables that some files have.
struct Found {
    tables: Vec<SourceTable>,
    notes: Vec<String>,
}

impl Found {
    fn new(files: &TensorFiles, family: &Family, scheme: &Scheme) -> Result<Self, CheckpointError> {
        let tensors: Vec<TableTensors> = (0..scheme.layers.len())
            .map(|index| family.table_tensors(scheme, index))
            .collect();
        let ModelPrefix { prefix, notes } = model_prefix(files, &tensors)?;
        let tables = tensors
            .iter()
            .enumerate()
            .map(|(index, tensors)| locate(files, scheme, index, tensors, &prefix))
            .collect::<Result<Vec<_>, _>>()?;
        if let Family::Qwen(_) = family {
            check_stored_constants(files, scheme, &prefix)?;
        }
        Ok(Self { tables, notes })
    }
}
