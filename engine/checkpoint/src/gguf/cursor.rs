//! Reads a header from its start on, in pieces: nothing is allocated by a number in the file before the file is known
//! to hold as much.

use std::path::Path;

use engram_format::{Digest, Digester};
use engram_io::{PreadReader, ReadAt};

use super::error::GgufError;
use crate::error::CheckpointError;

/// The longest header that is read: vocabularies of published models take some 10 MiB.
pub(super) const MAX_HEADER_BYTES: u64 = engram_format::MAX_SOURCE_HEADER_BYTES;
/// Bytes that are read at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// A place in a header.
pub(super) struct Cursor<'a> {
    path: &'a Path,
    reader: &'a PreadReader,
    /// Offset of the next byte.
    at: u64,
    /// Bytes from `piece_at` on.
    piece: Vec<u8>,
    piece_at: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(path: &'a Path, reader: &'a PreadReader) -> Self {
        Self {
            path,
            reader,
            at: 0,
            piece: Vec::new(),
            piece_at: 0,
        }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn fault(&self, cause: GgufError) -> CheckpointError {
        CheckpointError::Gguf {
            path: self.path.into(),
            cause: cause.into(),
        }
    }

    /// Goes on after `count` values of `size` bytes.
    pub(super) fn skip(&mut self, count: u64, size: u64) -> Result<(), CheckpointError> {
        self.at = self.end_of(count, size)?;
        Ok(())
    }

    /// `count` values of `size` bytes.
    pub(super) fn bytes(&mut self, count: u64, size: u64) -> Result<Vec<u8>, CheckpointError> {
        let end = self.end_of(count, size)?;
        let len = usize::try_from(end - self.at).expect("a header is below 2^28 bytes");
        let mut bytes = vec![0; len];
        self.reader.read_at(self.at, &mut bytes)?;
        self.at = end;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let end = self.end_of(N as u64, 1)?;
        if end > self.piece_at + self.piece.len() as u64 || self.at < self.piece_at {
            let len = (self.reader.size() - self.at).min(PIECE_BYTES);
            let len = usize::try_from(len).expect("a piece is small");
            self.piece.resize(len, 0);
            self.reader.read_at(self.at, &mut self.piece)?;
            self.piece_at = self.at;
        }
        let start = usize::try_from(self.at - self.piece_at).expect("a piece is small");
        self.at = end;
        let bytes = &self.piece[start..start + N];
        Ok(bytes.try_into().expect("they are so many"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, CheckpointError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, CheckpointError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string with its length before it.
    pub(super) fn text(&mut self) -> Result<String, CheckpointError> {
        let at = self.at;
        let len = self.u64()?;
        // Names are short; a byte at a time comes out of the piece, a longer text by a read of its own.
        let bytes = if len <= 256 {
            self.end_of(len, 1)?;
            (0..len)
                .map(|_| self.array().map(|[byte]| byte))
                .collect::<Result<_, _>>()?
        } else {
            self.bytes(len, 1)?
        };
        String::from_utf8(bytes).map_err(|_| self.fault(GgufError::Name { at }))
    }

    /// Goes on after a string.
    pub(super) fn skip_text(&mut self) -> Result<(), CheckpointError> {
        let len = self.u64()?;
        self.skip(len, 1)
    }

    /// Where `count` values of `size` bytes end.
    fn end_of(&self, count: u64, size: u64) -> Result<u64, CheckpointError> {
        let wanted = count.saturating_mul(size);
        let end = self.at.saturating_add(wanted);
        let bytes = self.reader.size();
        if end <= bytes.min(MAX_HEADER_BYTES) {
            return Ok(end);
        }
        let limit = if end > bytes {
            format!("the file has {bytes}; its download may not be complete")
        } else {
            format!("a header has at most {MAX_HEADER_BYTES}")
        };
        Err(self.fault(GgufError::Ends {
            at: self.at,
            wanted,
            limit,
        }))
    }
}

/// The digest of the first `bytes` bytes of a file.
pub(super) fn digest_of_start(reader: &PreadReader, bytes: u64) -> Result<Digest, CheckpointError> {
    let (mut digester, mut piece, mut at) = (Digester::new(), Vec::new(), 0);
    while at < bytes {
        let len = (bytes - at).min(PIECE_BYTES);
        piece.resize(usize::try_from(len).expect("a piece is small"), 0);
        reader.read_at(at, &mut piece)?;
        digester.update(&piece);
        at += len;
    }
    Ok(digester.finish())
}
