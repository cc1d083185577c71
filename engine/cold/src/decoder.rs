//! From frames to records.

use std::fmt;

use engram_format::{ColdColumn, FormatError, FrameIndex, RowId, seals_digest};
use xxhash_rust::xxh3::xxh3_64;
use zstd::zstd_safe::{
    DCtx, DDict, find_frame_compressed_size, get_error_name, get_frame_content_size,
};

use crate::FrameError;

/// Begins a dictionary of Zstandard's (RFC 8878, 6).
const DICTIONARY_MAGIC: [u8; 4] = 0xEC30_A437_u32.to_le_bytes();

/// What is known of the frames of one column once the beginning of its file was read.
pub struct Frames {
    column: ColdColumn,
    index: FrameIndex,
    dictionary: Option<DDict<'static>>,
}

impl Frames {
    /// The frames of `column`; `head` is what lies between the header of its file and the first frame.
    ///
    /// # Errors
    /// An index or dictionary that is damaged, lies, or is of another column.
    pub fn new(column: ColdColumn, head: &[u8]) -> Result<Self, FormatError> {
        let (dictionary, index) = column.read_head(head)?;
        let dictionary = match dictionary {
            [] => None,
            bytes => {
                // Zstandard would take bytes without its magic number for a dictionary of mere contents.
                let is_one = bytes.starts_with(&DICTIONARY_MAGIC);
                let prepared = is_one.then(|| DDict::try_create(bytes)).flatten();
                Some(prepared.ok_or(FormatError::Dictionary { bytes: bytes.len() })?)
            }
        };
        Ok(Self {
            column,
            index,
            dictionary,
        })
    }

    /// The column.
    pub fn column(&self) -> &ColdColumn {
        &self.column
    }

    /// Where the frames lie.
    pub fn index(&self) -> &FrameIndex {
        &self.index
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frames").field(&self.column).finish()
    }
}

/// Decompresses frames of any column, one at a time.
pub struct Decoder {
    context: DCtx<'static>,
    rows: Vec<u8>,
}

impl Decoder {
    /// A decoder.
    pub fn new() -> Self {
        Self {
            context: DCtx::create(),
            rows: Vec::new(),
        }
    }

    /// Puts the records of a frame, whose bytes are `bytes`, to `records` as a packed shard has them, and returns its
    /// rows without padding and seals. Of the frame, everything is checked: its own checksum before it is
    /// decompressed, and then the seals of its rows. It never becomes larger than its rows are.
    ///
    /// # Errors
    /// A frame that is not what the index says.
    ///
    /// # Panics
    /// If there is no such frame.
    pub fn decode(
        &mut self,
        frames: &Frames,
        frame: u64,
        bytes: &[u8],
        records: &mut Vec<u8>,
    ) -> Result<&[u8], FrameError> {
        let column = &frames.column;
        let place = frames.index.place(frame);
        if bytes.len() != place.len as usize {
            return Err(FrameError::Length {
                frame,
                found: bytes.len(),
                expected: place.len,
            });
        }
        let found = xxh3_64(bytes);
        if found != place.checksum {
            return Err(FrameError::Checksum {
                frame,
                found,
                expected: place.checksum,
            });
        }
        self.decompress(frames, frame, bytes)?;
        let header = &column.header;
        let layout = column.layout();
        let first = RowId(header.column.first_row + frame * column.frame_rows);
        layout.lay_out(header.layer, first, &self.rows, records);
        let count = self.rows.len() / layout.row_bytes();
        let found = seals_digest(&layout, records, count);
        if found != place.seals {
            return Err(FrameError::Seals {
                frame,
                found,
                expected: place.seals,
            });
        }
        Ok(&self.rows)
    }

    fn decompress(&mut self, frames: &Frames, frame: u64, bytes: &[u8]) -> Result<(), FrameError> {
        let not_a_frame = |reason| FrameError::NotAFrame { frame, reason };
        let expected = frames.column.row_bytes_of(frame);
        let content = get_frame_content_size(bytes);
        let content = content.map_err(|_| not_a_frame("it has no header of a frame"))?;
        let found =
            content.ok_or_else(|| not_a_frame("it does not say how many bytes it holds"))?;
        if found != expected {
            return Err(FrameError::Size {
                frame,
                found,
                expected,
            });
        }
        let said = |code| not_a_frame(get_error_name(code));
        if find_frame_compressed_size(bytes).map_err(said)? != bytes.len() {
            return Err(not_a_frame("something follows it"));
        }
        let bytes_of_rows = usize::try_from(expected).expect("a checked frame has at most 16 MiB");
        self.rows.resize(bytes_of_rows, 0);
        let rows = &mut self.rows[..];
        let written = match &frames.dictionary {
            None => self.context.decompress(rows, bytes),
            Some(dictionary) => self.context.decompress_using_ddict(rows, bytes, dictionary),
        };
        let found = written.map_err(said)? as u64;
        if found != expected {
            return Err(FrameError::Size {
                frame,
                found,
                expected,
            });
        }
        Ok(())
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
