//! What often lies in a file's place when its download has failed.

use std::fmt;

use serde_json::Value;

use crate::size::grouped;

/// Bytes at the start of a file that show what it is.
pub(crate) const START_BYTES: usize = 1_024;
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// Keys of the messages that servers send in a file's place.
const MESSAGE_KEYS: [&str; 5] = ["error", "errors", "message", "detail", "error_code"];
/// The most keys that such a message has.
const MESSAGE_SIZE: usize = 8;
/// Characters of a text that are shown.
const SHOWN: usize = 60;

/// Something else in the place of a file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StandIn {
    /// Nothing.
    Empty,
    /// The pointer by which git-lfs keeps the place of a file.
    LfsPointer {
        /// Size of the file that it stands for, in bytes.
        bytes: Option<u64>,
    },
    /// A web page.
    WebPage,
    /// An answer of an object store, in XML.
    Xml,
    /// A message of a server, in JSON or plain.
    Message {
        /// How it begins.
        text: String,
    },
}

impl StandIn {
    /// What `start`, the first [`START_BYTES`] of a file, shows it to be. `binary` is whether the file should have no
    /// text at its start.
    pub(crate) fn detect(start: &[u8], binary: bool) -> Option<Self> {
        if start.is_empty() {
            return Some(Self::Empty);
        }
        if start.starts_with(POINTER) {
            return Some(Self::LfsPointer {
                bytes: pointer_size(start),
            });
        }
        let text = start
            .strip_prefix(b"\xEF\xBB\xBF")
            .unwrap_or(start)
            .trim_ascii_start();
        let begins =
            |with: &[u8]| text.len() >= with.len() && text[..with.len()].eq_ignore_ascii_case(with);
        if begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") {
            return Some(Self::WebPage);
        }
        if begins(b"<?xml") || begins(b"<error") {
            return Some(Self::Xml);
        }
        let is_message = if binary {
            start
                .iter()
                .all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
        } else {
            is_message(start)
        };
        is_message.then(|| Self::Message { text: shown(text) })
    }
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty, so its download has failed; fetch it again"),
            Self::LfsPointer { bytes } => {
                f.write_str("this is a git-lfs pointer, not the file; fetch the file itself")?;
                if let Some(bytes) = bytes {
                    write!(f, " ({} bytes)", grouped(*bytes))?;
                }
                f.write_str(" with `git lfs pull`")
            }
            Self::WebPage => f.write_str("this is a web page, not the file; fetch the file itself"),
            Self::Xml => {
                f.write_str("this is an XML answer of a server, such as an error, not the file; fetch the file itself")
            }
            Self::Message { text } => {
                write!(f, "this is a message of a server, not the file; fetch the file itself: {text}")
            }
        }
    }
}

fn pointer_size(pointer: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(pointer);
    text.lines()
        .find_map(|line| line.strip_prefix("size ")?.trim().parse().ok())
}

/// Whether `text` is a small object with a key of a server's messages, or no JSON but a line of text.
fn is_message(text: &[u8]) -> bool {
    if text.len() >= START_BYTES {
        return false;
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => {
            object.len() <= MESSAGE_SIZE && MESSAGE_KEYS.iter().any(|key| object.contains_key(*key))
        }
        Ok(Value::String(_)) => true,
        Ok(_) => false,
        // Plain words, such as `Entry not found`.
        Err(_) => text.first().is_some_and(u8::is_ascii_alphabetic),
    }
}

fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_what_lies_in_their_place() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000\n";
        let message = |text: &str| StandIn::Message { text: text.into() };
        for (text, expected) in [
            ("", StandIn::Empty),
            (pointer, StandIn::LfsPointer { bytes: Some(5_000) }),
            ("\n <!DOCTYPE html><html>", StandIn::WebPage),
            ("<?xml version=\"1.0\"?><Error/>", StandIn::Xml),
            (
                "{\"error\":\"not found\"}",
                message("{\"error\":\"not found\"}"),
            ),
            ("Entry not found", message("Entry not found")),
        ] {
            for binary in [false, true] {
                assert_eq!(
                    StandIn::detect(text.as_bytes(), binary),
                    Some(expected.clone()),
                    "{text}"
                );
            }
        }
        for text in ["{\"vocab_size\": 5}", "{", "[1]", " {\"a\": NaN}"] {
            assert_eq!(StandIn::detect(text.as_bytes(), false), None, "{text}");
        }
        assert_eq!(StandIn::detect(&[1, 0, 0, 0], true), None);
        let pointer = StandIn::LfsPointer { bytes: Some(5_000) }.to_string();
        assert!(pointer.contains("(5,000 bytes)"), "{pointer}");
    }
}
