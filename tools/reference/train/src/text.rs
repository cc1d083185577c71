//! Texts, and the part of them that is not learned from.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use engram_io::IoError;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::Error;

/// The Gospels and the Acts in the King James Version, to try things with; `data/README.md` says where it is from.
pub const SAMPLE: &str = include_str!("../data/sample.txt");

/// Files in folders that are read; a file that is named is read whatever its name.
const EXTENSIONS: [&str; 3] = ["txt", "md", "rst"];
/// With fewer documents than this, parts of documents are held out.
const MIN_DOCUMENTS: usize = 20;
/// Bytes of such a part; it ends with a line.
const PART_BYTES: usize = 4096;

/// Texts to learn from, and texts to measure on. No text is in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// To learn from.
    pub training: Vec<String>,
    /// To measure on.
    pub held_out: Vec<String>,
    /// Whether whole documents were held out, not parts of them.
    pub by_document: bool,
}

/// Reads files, and the files called `.txt`, `.md` or `.rst` in folders, in the order of their names. The same text is
/// taken once.
///
/// # Errors
/// A path that cannot be read, or a file that is no UTF-8.
pub fn read_documents(paths: &[PathBuf]) -> Result<Vec<String>, Error> {
    let mut documents = Vec::new();
    let mut known = HashSet::new();
    for file in files(paths)? {
        let text = read(&file)?;
        if !text.trim().is_empty() && known.insert(text.clone()) {
            documents.push(text);
        }
    }
    Ok(documents)
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let cannot = |cause| IoError::os("list the folder", folder)(cause);
    let entries = fs::read_dir(folder).map_err(cannot)?;
    let mut entries = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(cannot)?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            // A link to a folder above would never end.
            if !path.is_symlink() {
                walk(&path, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|&of| extension == of))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(IoError::os("read", path))?;
    String::from_utf8(bytes).map_err(|error| Error::NotText {
        path: path.into(),
        position: error.utf8_error().valid_up_to(),
    })
}

impl Texts {
    /// Holds out about `share` of the bytes of `documents`: whole documents, or parts where there are few. The same
    /// `seed` holds out the same.
    ///
    /// # Errors
    /// A share that is not between 0 and 1, or less text than two parts.
    pub fn split(documents: &[String], share: f64, seed: u64) -> Result<Self, Error> {
        if !(share > 0.0 && share < 1.0) {
            return Err(Error::Recipe {
                field: "held_out",
                found: share.to_string(),
                expected: "a share between 0 and 1".into(),
            });
        }
        let by_document = documents.len() >= MIN_DOCUMENTS;
        let parts: Vec<&str> = if by_document {
            documents.iter().map(String::as_str).collect()
        } else {
            documents.iter().flat_map(|text| cut(text)).collect()
        };
        if parts.len() < 2 {
            return Err(Error::TooLittle {
                what: "the text",
                found: format!("{} bytes", documents.iter().map(String::len).sum::<usize>()),
                expected: format!("{} bytes", 2 * PART_BYTES),
            });
        }
        let held = held_out(&parts, share, seed);
        let part = |held_out: bool| {
            let parts = parts.iter().zip(&held);
            let parts = parts.filter(|&(_, &held)| held == held_out);
            parts.map(|(&part, _)| part.to_owned()).collect()
        };
        Ok(Self {
            training: part(false),
            held_out: part(true),
            by_document,
        })
    }
}

/// For each part whether it is held out: one at least, and not all.
#[expect(clippy::cast_precision_loss, reason = "texts are below 2^52 bytes")]
fn held_out(parts: &[&str], share: f64, seed: u64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    order.pop();
    let bytes = parts.iter().map(|part| part.len()).sum::<usize>() as f64;
    let mut held = vec![false; parts.len()];
    let mut taken = 0;
    for part in order {
        held[part] = true;
        taken += parts[part].len();
        if taken as f64 >= share * bytes {
            break;
        }
    }
    held
}

/// Parts of `text` that end with a line, of [`PART_BYTES`] or a little more.
fn cut(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (end, _) in text.match_indices('\n') {
        if end + 1 - start >= PART_BYTES {
            parts.push(&text[start..=end]);
            start = end + 1;
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(count: usize) -> Vec<String> {
        (0..count)
            .map(|index| format!("document {index}\n").repeat(100))
            .collect()
    }

    #[test]
    fn no_text_is_on_both_sides_and_none_is_lost() {
        for (count, by_document) in [(40, true), (8, false)] {
            let documents = documents(count);
            let texts = Texts::split(&documents, 0.1, 3).unwrap();
            assert_eq!(texts.by_document, by_document);
            assert!(
                texts
                    .held_out
                    .iter()
                    .all(|text| !texts.training.contains(text))
            );
            let bytes = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
            let (training, held_out) = (bytes(&texts.training), bytes(&texts.held_out));
            assert_eq!(training + held_out, bytes(&documents));
            assert!(held_out * 5 < training && held_out > 0);
            assert_eq!(texts, Texts::split(&documents, 0.1, 3).unwrap());
        }
        let documents = documents(40);
        let other = Texts::split(&documents, 0.1, 4).unwrap();
        assert_ne!(other, Texts::split(&documents, 0.1, 3).unwrap());
    }

    #[test]
    fn parts_end_with_a_line() {
        let text = "one line of text\n".repeat(1000) + "the end";
        let parts = cut(&text);
        assert_eq!(parts.concat(), text);
        assert_eq!(parts.len(), 5);
        assert!(parts[..4].iter().all(|part| part.ends_with('\n')));
    }

    #[test]
    fn too_little_text_is_an_error() {
        for documents in [vec![], vec!["short".to_owned()]] {
            let error = Texts::split(&documents, 0.1, 0).unwrap_err().to_string();
            assert!(error.contains("the text has"), "{error}");
        }
        let error = Texts::split(&documents(40), 1.0, 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("held_out is 1"), "{error}");
    }
}
