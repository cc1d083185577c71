//! The file of one column of a cold pack.

use std::path::{Path, PathBuf};

use engram_format::{ColdColumn, FormatError, HEADER_BYTES};
use engram_io::ReadAt;

use crate::{ColdError, Decoder, Frames};

/// A column of a cold pack whose header, dictionary and index have been read and checked. Its frames are read from any
/// thread, each with a buffer of its own.
#[derive(Debug)]
pub struct ColdFile {
    path: PathBuf,
    reader: Box<dyn ReadAt>,
    frames: Frames,
}

/// What it takes to read frames, one at a time.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    decoder: Decoder,
    bytes: Vec<u8>,
}

impl ColdFile {
    /// The file at `path`, read by `reader`, of `column`.
    ///
    /// # Errors
    /// A file of another size, a header of another column, a dictionary or index that is damaged or lies, or a read
    /// that fails.
    ///
    /// # Panics
    /// Never for a column of a manifest that was read.
    pub fn open(
        path: &Path,
        reader: Box<dyn ReadAt>,
        column: ColdColumn,
    ) -> Result<Self, ColdError> {
        let in_file = |cause| ColdError::Format {
            path: path.into(),
            cause,
        };
        // A checked manifest says at least the bytes of header, dictionary and index, so what is read lies in the file.
        let (found, expected) = (reader.size(), column.shard.bytes);
        if found != expected {
            return Err(in_file(FormatError::Size { found, expected }));
        }
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block)?;
        column.check_header(&block).map_err(in_file)?;
        let head = usize::try_from(column.first_frame()).expect("an index has at most 2^28 bytes");
        let mut head = vec![0; head - HEADER_BYTES];
        reader.read_at(HEADER_BYTES as u64, &mut head)?;
        Ok(Self {
            path: path.into(),
            reader,
            frames: Frames::new(column, &head).map_err(in_file)?,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of its frames.
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Reads a frame, checks it, and puts its records to `records` as [`Decoder::decode`] does. Returns its rows.
    ///
    /// # Errors
    /// A read that fails, or a frame that is not what the index says.
    ///
    /// # Panics
    /// If there is no such frame.
    pub fn read<'a>(
        &self,
        frame: u64,
        buffer: &'a mut FrameBuffer,
        records: &mut Vec<u8>,
    ) -> Result<&'a [u8], ColdError> {
        let place = self.frames.index().place(frame);
        buffer.bytes.resize(place.len as usize, 0);
        self.reader.read_at(place.offset, &mut buffer.bytes)?;
        let decoded = buffer
            .decoder
            .decode(&self.frames, frame, &buffer.bytes, records);
        decoded.map_err(|cause| ColdError::Frame {
            path: self.path.clone(),
            offset: place.offset,
            cause,
        })
    }
}
