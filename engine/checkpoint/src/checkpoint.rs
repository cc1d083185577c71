//! A checkpoint whose tables have been found and checked against its configuration.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use engram_format::{Scheme, SchemeName, Segment, SourceFile, TokenMap};

use crate::{
    builtin::builtin_token_map,
    error::CheckpointError,
    gguf::{self, GgufModel},
    layouts::{CONFIG_FILE, Family, TableTensors},
    locate::{SourceTable, check_stored_constants, locate},
    prefix::{ModelPrefix, model_prefix},
    tensors::{TensorFiles, is_tensor_file},
    token_map::read_token_map,
};

/// What a checkpoint does not say itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckpointOptions<'a> {
    /// The tokenizer or plain token map that is used instead of the checkpoint's own.
    pub tokenizer: Option<&'a Path>,
    /// The name of a published model, or the path of a model's configuration, for tables without a `config.json`. As
    /// [`Family::of_scheme`] takes it.
    pub scheme: Option<&'a str>,
}

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
        let options = CheckpointOptions {
            tokenizer,
            scheme: None,
        };
        Self::open_with(path, options)
    }

    /// As [`Self::open`]. If a scheme is given, `path` may be a safetensors file or a folder with some, without a model
    /// beside them; names of tensors may lack what comes first in the model's. A GGUF file has its own scheme.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, options: CheckpointOptions<'_>) -> Result<Self, CheckpointError> {
        if gguf::is_gguf(path) {
            return gguf::open(path, options.tokenizer).map(Self::from_gguf);
        }
        match options.scheme {
            None => Self::open_folder(path, options.tokenizer),
            Some(scheme) => Self::open_tables(path, scheme, options.tokenizer),
        }
    }

    /// Tables without a model beside them.
    fn open_tables(
        path: &Path,
        scheme: &str,
        tokenizer: Option<&Path>,
    ) -> Result<Self, CheckpointError> {
        let family = Family::of_scheme(scheme)?;
        let in_scheme = |cause| CheckpointError::Scheme {
            path: scheme.into(),
            cause,
        };
        family.check_tokenizer(tokenizer).map_err(in_scheme)?;
        let files = if is_tensor_file(path) {
            TensorFiles::open_file(path)?
        } else {
            TensorFiles::open(path)?
        };
        let token_map = if family.compresses() {
            match read_token_map(files.folder(), tokenizer) {
                Err(error @ CheckpointError::NoTokenMap { .. }) => {
                    let known = scheme.parse::<SchemeName>().ok();
                    Some(known.and_then(builtin_token_map).ok_or(error)?)
                }
                read => Some(read?),
            }
        } else {
            None
        };
        let scheme = family.scheme(token_map.as_ref()).map_err(in_scheme)?;
        let found = Found::of_tables_alone(&files, &family, &scheme)?;
        Ok(Self::of(&files, scheme, token_map, found))
    }

    fn of(files: &TensorFiles, scheme: Scheme, token_map: Option<TokenMap>, found: Found) -> Self {
        let mut checkpoint = Self {
            folder: files.folder().into(),
            scheme,
            token_map,
            sources: files.files().to_vec(),
            tables: found.tables,
            notes: found.notes,
        };
        checkpoint.drop_unused_sources();
        checkpoint
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
        Ok(Self::of(&files, scheme, token_map, found))
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
        Self::of_tensors(files, family, scheme, &tensors_of(family, scheme))
    }

    /// As [`Self::new`]; but names may lack their first parts, as many in each.
    fn of_tables_alone(
        files: &TensorFiles,
        family: &Family,
        scheme: &Scheme,
    ) -> Result<Self, CheckpointError> {
        let full = tensors_of(family, scheme);
        let as_in_model = Self::of_tensors(files, family, scheme, &full);
        if !matches!(as_in_model, Err(CheckpointError::MissingTensor { .. })) {
            return as_in_model;
        }
        let mut tensors = full;
        loop {
            let shorter = tensors.iter().map(TableTensors::without_first_part);
            let Some(shorter) = shorter.collect::<Option<Vec<_>>>() else {
                return as_in_model;
            };
            let names: BTreeSet<&str> = shorter.iter().map(|t| t.values[0].name.as_str()).collect();
            if names.len() < shorter.len() {
                return as_in_model;
            }
            match Self::of_tensors(files, family, scheme, &shorter) {
                Err(CheckpointError::MissingTensor { .. }) => {}
                found => return found,
            }
            tensors = shorter;
        }
    }

    fn of_tensors(
        files: &TensorFiles,
        family: &Family,
        scheme: &Scheme,
        tensors: &[TableTensors],
    ) -> Result<Self, CheckpointError> {
        let ModelPrefix { prefix, notes } = model_prefix(files, tensors)?;
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

/// The tensors of each table, by the names that they have in the model.
fn tensors_of(family: &Family, scheme: &Scheme) -> Vec<TableTensors> {
    let tables = 0..scheme.layers.len();
    tables
        .map(|index| family.table_tensors(scheme, index))
        .collect()
}
