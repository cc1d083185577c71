//! Why a pack cannot be opened, or a row not be had.

use std::{ops::Range, path::PathBuf};

use engram_format::{ColumnsError, FormatError, LayerId, RowId, SchemeError};
use engram_io::{FileChange, IoError};
use thiserror::Error;

/// A pack that cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A folder without a manifest.
    #[error("{} holds no manifest.json: it is no pack, or one whose build has not finished", path.display())]
    NotAPack {
        /// The folder.
        path: PathBuf,
    },
    /// A file that is not what the manifest or the format says.
    #[error("{}: {cause}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: FormatError,
    },
    /// A cold pack, in a program that cannot decompress its frames.
    #[error(
        "{} is a cold pack, and this program was built without the feature `cold` of the crate `engram`; build it with \
         that, or make a packed pack by `engram-pack thaw`",
        pack.display()
    )]
    ColdNotBuilt {
        /// The pack.
        pack: PathBuf,
    },
    /// A cold pack that is to be read as only a packed one can be.
    #[error(
        "{} is a cold pack, {way}; let `Reader::Direct` or `Reader::DirectThreads` read it, or load it by \
         `Reader::Memory`, or make a packed pack by `engram-pack thaw`",
        pack.display()
    )]
    ColdUnsuited {
        /// The pack.
        pack: PathBuf,
        /// Why it cannot be read so.
        way: &'static str,
    },
    /// The scheme and the token map do not fit each other.
    #[error("{}: {cause}", path.display())]
    Scheme {
        /// The pack.
        path: PathBuf,
        /// What is wrong.
        cause: SchemeError,
    },
    /// A row of a checkpoint that is not what it was when the pack was attached to it.
    #[error(
        "{}: row {row} of layer {layer} has seal {found:016x}, {expected:016x} when the pack was attached; \
         the checkpoint has changed, attach it again",
        path.display()
    )]
    Changed {
        /// The checkpoint's file.
        path: PathBuf,
        /// The layer.
        layer: LayerId,
        /// The row.
        row: RowId,
        /// Seal of the row now.
        found: u64,
        /// Seal in the manifest.
        expected: u64,
    },
    /// A backing of the caller's whose reads cannot be planned.
    #[error("the backing's geometry: {field} is {found}, expected {expected}")]
    Geometry {
        /// The field.
        field: &'static str,
        /// Its value.
        found: usize,
        /// What would do.
        expected: String,
    },
    /// A shared folder without room for the copies and caches that are to be made in it. Nothing was made.
    #[error(
        "{} needs {needed} bytes more for resident columns or caches that processes share, and has {free} free; \
         make it larger, load less, or remove what `engram::shared_files` finds there",
        folder.display()
    )]
    NoSpace {
        /// The folder.
        folder: PathBuf,
        /// Bytes of all files that are missing.
        needed: u64,
        /// Bytes that its file system has left for this user.
        free: u64,
    },
    /// The copy of a resident column that processes share can neither be used nor made.
    #[error(
        "cannot share {} as {}: {cause}; open the pack once as a user who may write the folder, with a umask that lets \
         others read the copy, or open it without `resident_folder`",
        shard.display(),
        path.display()
    )]
    UnusableCopy {
        /// Where the copy lies, or should.
        path: PathBuf,
        /// The shard.
        shard: PathBuf,
        /// Why not.
        cause: Box<IoError>,
    },
    /// A copy of a resident column that is not what its shard is, and cannot be replaced.
    #[error(
        "{}: {damage}; it is a shared copy of a shard, and cannot be made anew: {cause}; remove it",
        path.display()
    )]
    DamagedCopy {
        /// The copy.
        path: PathBuf,
        /// What is wrong with it.
        damage: FormatError,
        /// Why it cannot be replaced.
        cause: Box<IoError>,
    },
    /// Resident columns of an attached pack, which has none.
    #[error("an attached pack has no columns of its own to load; build a pack")]
    NoColumns,
    /// A pack of more files than this process may open.
    #[error(
        "{}: its rows lie in {needed} files, which are all open while the pack is; this process may have {limit} \
         files open (ulimit -n), and others are in use; raise the limit",
        folder.display()
    )]
    TooManyFiles {
        /// Folder of the files: the pack's, or the checkpoint's behind an attached pack.
        folder: PathBuf,
        /// Files that rows lie in.
        needed: usize,
        /// Files that this process may have open at a time.
        limit: u64,
    },
    /// A checkpoint that is not where it was when a pack was attached to it.
    #[error(
        "{cause}; the checkpoint of the attached pack {} has moved or lost this file: if it has moved, name its folder \
         by `--checkpoint`, in a program by `Config::checkpoint`",
        pack.display()
    )]
    CheckpointMoved {
        /// The pack.
        pack: PathBuf,
        /// The file that is not there.
        cause: IoError,
    },
    /// A shard that is not where its stripe was when the pack was built, or is said to be now.
    #[error(
        "{cause}; it belongs to stripe {stripe} of the pack {}: if its drive is not mounted, mount it; if the stripe \
         lies elsewhere now, name its folder by `--stripe {stripe}=DIR`, in a program by `Config::stripe`",
        pack.display()
    )]
    StripeMissing {
        /// The pack.
        pack: PathBuf,
        /// Index of the stripe.
        stripe: u32,
        /// The file that is not there.
        cause: IoError,
    },
    /// A stripe that is said to lie elsewhere, of a pack that has none of that number.
    #[error(
        "{} has no stripe {stripe} that could have moved; its stripes are numbered from 0, and there are {stripes}",
        pack.display()
    )]
    NoStripe {
        /// The pack.
        pack: PathBuf,
        /// Index of the stripe.
        stripe: u32,
        /// Stripes of the pack.
        stripes: usize,
    },
    /// Columns that the pack has not.
    #[error("{}: {cause}", pack.display())]
    Columns {
        /// The pack.
        pack: PathBuf,
        /// What is wrong.
        cause: ColumnsError,
    },
    /// A file that is missing or cannot be read.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A batch that cannot be served. None of its rows is handed out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// A layer without a table.
    #[error(
        "layer {layer} has no table; the pack has layers {:?}",
        layers.iter().map(|layer| layer.0).collect::<Vec<_>>()
    )]
    UnknownLayer {
        /// The layer asked for.
        layer: LayerId,
        /// The layers there are.
        layers: Vec<LayerId>,
    },
    /// A row id beyond the last column.
    #[error(
        "row {row} at index {index} of the batch is outside the table of layer {layer}, which has {row_count} rows"
    )]
    RowOutOfRange {
        /// The layer.
        layer: LayerId,
        /// Place in the batch.
        index: usize,
        /// The row asked for.
        row: RowId,
        /// Rows of the table.
        row_count: u64,
    },
    /// A row of a column that is not among those that [`Config::columns`](crate::Config::columns) chose.
    #[error(
        "row {row} at index {index} of the batch is in column {column} of layer {layer}, which is not open; open are \
         {} of the layer's columns, from {} on, by `Config::columns`",
        open.len(),
        open.start
    )]
    ColumnNotOpen {
        /// The layer.
        layer: LayerId,
        /// Place in the batch.
        index: usize,
        /// The row asked for.
        row: RowId,
        /// Index of the row's column among those of the layer.
        column: u32,
        /// The columns that are open.
        open: Range<u32>,
    },
    /// A batch with more rows than can be counted in 32 bits.
    #[error("the batch has {rows} rows; one batch can have at most 4,294,967,295")]
    BatchTooLarge {
        /// Rows of the batch.
        rows: usize,
    },
    /// A buffer whose memory is not aligned for the values that it should hold.
    #[error(
        "the buffer's memory at {address:#x} is not aligned to the {value_bytes} bytes of its values"
    )]
    Misaligned {
        /// Address of the memory.
        address: usize,
        /// Bytes of a value.
        value_bytes: usize,
    },
    /// An output of another size than the batch.
    #[error("the output has {found} bytes, {rows} rows of {row_bytes} bytes need {expected}")]
    OutputSize {
        /// Rows of the batch.
        rows: usize,
        /// Bytes of each.
        row_bytes: usize,
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A record that is damaged, or belongs elsewhere.
    #[error(
        "{}: row {row} of layer {layer} at offset {offset} has seal {found:016x}, expected {expected:016x}; \
         the record is damaged or misplaced, run `engram-pack verify`",
        path.display()
    )]
    Damaged {
        /// The shard.
        path: PathBuf,
        /// The layer.
        layer: LayerId,
        /// The row.
        row: RowId,
        /// Offset of the record in the shard.
        offset: u64,
        /// Seal of the bytes read.
        found: u64,
        /// Seal stored.
        expected: u64,
    },
    /// A frame of a cold pack that is damaged, or belongs elsewhere. None of its rows is handed out.
    #[error(
        "{}: at offset {offset}, with rows of layer {layer}: {cause}; the frame is damaged or misplaced, run \
         `engram-pack verify`",
        path.display()
    )]
    DamagedFrame {
        /// The file.
        path: PathBuf,
        /// The layer.
        layer: LayerId,
        /// Offset of the frame in the file.
        offset: u64,
        /// What is wrong with it.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record that is damaged in a copy that processes share, and right in its shard.
    #[error(
        "{}: row {row} of layer {layer} at offset {offset} has seal {found:016x}, expected {expected:016x}; this is a \
         shared copy of {}, which is not damaged; {}",
        path.display(),
        shard.display(),
        match kept {
            None => "it has been removed, so open the pack again to have it made anew".to_owned(),
            Some(cause) => format!("remove it, which failed here ({cause}), and open the pack again"),
        }
    )]
    DamagedCopy {
        /// The copy.
        path: PathBuf,
        /// The shard.
        shard: PathBuf,
        /// The layer.
        layer: LayerId,
        /// The row.
        row: RowId,
        /// Offset of the record in both.
        offset: u64,
        /// Seal of the bytes read.
        found: u64,
        /// Seal stored.
        expected: u64,
        /// Why the copy could not be removed, if it could not.
        kept: Option<std::io::Error>,
    },
    /// A file of the checkpoint behind an attached pack that has changed since the pack was opened. Its rows have no
    /// seals that would tell which are still right, so none of the layer is handed out any more.
    #[error("{change}; no row of layer {layer} can be trusted, open the pack again")]
    SourceChanged {
        /// The layer.
        layer: LayerId,
        /// The file, and what tells.
        change: FileChange,
    },
    /// Rows that could not be read from the drive.
    #[error("{} rows of layer {layer} cannot be read, the first is row {}: {cause}", rows.len(), rows[0])]
    Unread {
        /// The layer.
        layer: LayerId,
        /// The rows, in order; never none.
        rows: Vec<RowId>,
        /// The first failure.
        cause: IoError,
    },
    /// N-grams that are not those of the table's columns.
    #[error(
        "the n-grams of the batch are of {found_order} tokens at most, for {found_columns} columns; \
         layer {layer} has {columns} columns, of up to {order} tokens"
    )]
    NGramShape {
        /// The layer.
        layer: LayerId,
        /// Largest order of the batch's n-grams.
        found_order: usize,
        /// Columns that the batch was hashed for.
        found_columns: usize,
        /// Largest order of the table.
        order: u32,
        /// Columns of the table.
        columns: usize,
    },
    /// A tier of the caller's that cannot serve a row that it should have.
    #[error("a tier of the caller's: {0}")]
    Tier(Box<dyn std::error::Error + Send + Sync>),
    /// A store in a process that was forked from the one that opened it. Its reading threads were not copied.
    #[error(
        "the store was opened by process {opened}, this is process {found}, which was forked from it and has none of \
         its reading threads; open the store again after the fork"
    )]
    Forked {
        /// The process that opened the store.
        opened: u32,
        /// The process that asked for rows.
        found: u32,
    },
    /// A read that the backing dropped without ending it.
    #[error("the backing has dropped a read without ending it")]
    ReadDropped,
    /// A batch whose [`Canceller`](crate::Canceller) was used before all of its reads had begun.
    #[error("the batch was cancelled")]
    Cancelled,
    /// A reading thread that ended by a bug; the pack must be opened again.
    #[error("a reading thread has panicked; open the pack again")]
    Aborted,
    /// A read that failed, or no memory for a buffer.
    #[error(transparent)]
    Io(#[from] IoError),
}
