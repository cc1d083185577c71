//! The files of a model: one, or the parts of a split one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use engram_format::SourceFile;
use engram_io::{PreadReader, ReadAt};

use super::{
    error::GgufError,
    header::{GgufTensor, Header, Value},
    keys::Keys,
};
use crate::{error::CheckpointError, nearest::nearest};

/// Digits of a number in the name of a part.
const DIGITS: usize = 5;

/// The headers of a model's files.
#[derive(Debug)]
pub(super) struct GgufFiles {
    folder: PathBuf,
    /// The file that has the model's keys.
    first: PathBuf,
    keys: BTreeMap<String, Value>,
    files: Vec<SourceFile>,
    /// With the index of their file.
    tensors: BTreeMap<String, (u32, GgufTensor)>,
    /// Names of parts that are not there; nobody may need them.
    absent: Vec<String>,
}

impl GgufFiles {
    /// Reads the headers of all parts that are there; the first, which has the keys, must be.
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (names, count) = (parts(&name), Part::of(&name).map(|part| part.count));
        let mut opened = Self {
            folder: folder.into(),
            first: folder.join(&names[0]),
            keys: BTreeMap::new(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
            absent: Vec::new(),
        };
        for (index, name) in names.into_iter().enumerate() {
            let path = folder.join(&name);
            if index > 0 && !path.exists() {
                opened.absent.push(name);
                continue;
            }
            let header = Header::read(&path, &name)?;
            if let Some(count) = count {
                check_split(&path, &header, index as u64, count)?;
            }
            opened.add(&path, header)?;
        }
        Ok(opened)
    }

    fn add(&mut self, path: &Path, header: Header) -> Result<(), CheckpointError> {
        let source = u32::try_from(self.files.len()).expect("there are below 100,000 parts");
        if source == 0 {
            self.keys = header.keys;
        }
        self.files.push(header.file);
        for (name, tensor) in header.tensors {
            if self
                .tensors
                .insert(name.clone(), (source, tensor))
                .is_some()
            {
                return Err(CheckpointError::Gguf {
                    path: path.into(),
                    cause: Box::new(GgufError::Duplicate { name }),
                });
            }
        }
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The file with the model's keys.
    pub(super) fn first(&self) -> &Path {
        &self.first
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        Keys::new(&self.first, &self.keys)
    }

    /// An error about the model.
    pub(super) fn fault(&self, cause: GgufError) -> CheckpointError {
        CheckpointError::Gguf {
            path: self.first.clone(),
            cause: cause.into(),
        }
    }

    /// The tensor `name` and the index of its file.
    pub(super) fn find(&self, name: &str) -> Option<(u32, &GgufTensor)> {
        let (source, tensor) = self.tensors.get(name)?;
        Some((*source, tensor))
    }

    /// As [`Self::find`].
    ///
    /// # Errors
    /// No such tensor.
    pub(super) fn get(&self, name: &str) -> Result<(u32, &GgufTensor), CheckpointError> {
        self.find(name).ok_or_else(|| {
            self.fault(GgufError::MissingTensor {
                name: name.into(),
                absent: self.absent.clone(),
                nearest: nearest(name, self.tensors.keys().map(String::as_str)),
            })
        })
    }

    /// The first `out.len()` bytes of a tensor in the file `source`.
    pub(super) fn read(
        &self,
        source: u32,
        tensor: &GgufTensor,
        out: &mut [u8],
    ) -> Result<(), CheckpointError> {
        let path = self.folder.join(&self.files[source as usize].name);
        Ok(PreadReader::open(&path)?.read_at(tensor.offset, out)?)
    }
}

/// Names of the files of the model that the file `name` is or is a part of.
pub(super) fn parts(name: &str) -> Vec<String> {
    Part::of(name).map_or_else(|| vec![name.to_owned()], |part| part.all())
}

/// One part of a split file, by its name: `MODEL-00001-of-00004.gguf`.
struct Part<'a> {
    stem: &'a str,
    extension: &'a str,
    count: u64,
}

impl<'a> Part<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let (rest, extension) = name.rsplit_once('.')?;
        let (rest, count) = rest.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let [number, count] = [number, count].map(|digits| {
            let is_number = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| digits.parse::<u64>().ok()).flatten()
        });
        let (number, count) = (number?, count?);
        (1..=count).contains(&number).then_some(Self {
            stem,
            extension,
            count,
        })
    }

    fn all(&self) -> Vec<String> {
        let (stem, extension, count) = (self.stem, self.extension, self.count);
        (1..=count)
            .map(|number| format!("{stem}-{number:05}-of-{count:05}.{extension}"))
            .collect()
    }
}

/// Checks that a part is the one that its name says.
fn check_split(
    path: &Path,
    header: &Header,
    index: u64,
    count: u64,
) -> Result<(), CheckpointError> {
    let keys = Keys::new(path, &header.keys);
    for (key, expected) in [("split.no", index), ("split.count", count)] {
        let found: u64 = keys.number(key)?;
        if found != expected {
            return Err(keys.fault(key, found, format!("{expected}, by its name")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_names() {
        let all = |name| Part::of(name).map(|part| part.all());
        assert_eq!(
            all("m-Q4-00002-of-00002.gguf").unwrap(),
            ["m-Q4-00001-of-00002.gguf", "m-Q4-00002-of-00002.gguf"]
        );
        for name in [
            "m.gguf",
            "m-00003-of-00002.gguf",
            "m-00000-of-00002.gguf",
            "m-1-of-2.gguf",
            "m-+0001-of-00002.gguf",
        ] {
            assert_eq!(all(name), None, "{name}");
        }
    }
}
