//! Outcomes of calls, as numbers.

use engram_ffi::ErrorKind;

/// Outcome of a call. A number keeps its meaning; later releases may add some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum engram_status {
    /// It worked.
    ENGRAM_OK = 0,

    /// A pointer that must not be NULL is.
    ENGRAM_NULL_ARGUMENT = 1,
    /// An argument that has no meaning, such as an unknown constant or a stride shorter than a row.
    ENGRAM_BAD_ARGUMENT = 2,
    /// Text that is not UTF-8.
    ENGRAM_NOT_UTF8 = 3,

    /// Options that are not a JSON object.
    ENGRAM_OPTIONS_NOT_JSON = 10,
    /// Options with a field that there is not.
    ENGRAM_OPTIONS_UNKNOWN_FIELD = 11,
    /// Options with a field whose value it cannot have.
    ENGRAM_OPTIONS_FIELD = 12,
    /// Options that move a stripe which the pack has not.
    ENGRAM_NO_STRIPE = 13,
    /// Options that choose columns which the pack has not.
    ENGRAM_BAD_COLUMNS = 14,

    /// A folder without a manifest.
    ENGRAM_NOT_A_PACK = 20,
    /// An addressing scheme that cannot be used, or does not fit its token map.
    ENGRAM_BAD_SCHEME = 21,
    /// A checkpoint that has changed since the pack was attached to it.
    ENGRAM_CHANGED = 22,
    /// A backing whose reads cannot be planned. The C interface has no backings of its own.
    ENGRAM_BAD_GEOMETRY = 23,
    /// Resident columns were asked of an attached pack, which has none.
    ENGRAM_NO_COLUMNS = 24,
    /// A file of another kind.
    ENGRAM_BAD_MAGIC = 25,
    /// A file that a later release has written.
    ENGRAM_NEWER_VERSION = 26,
    /// A file that is damaged, or was edited.
    ENGRAM_BAD_CHECKSUM = 27,
    /// A shard that belongs elsewhere.
    ENGRAM_BAD_HEADER_FIELD = 28,
    /// A file of another size than the format says.
    ENGRAM_BAD_SIZE = 29,
    /// A file or text longer than the format allows.
    ENGRAM_TOO_LONG = 30,
    /// Text that is no manifest.
    ENGRAM_BAD_MANIFEST = 31,
    /// A manifest with a field that contradicts the rest.
    ENGRAM_BAD_MANIFEST_FIELD = 32,
    /// A profile with a field that contradicts the rest.
    ENGRAM_BAD_PROFILE_FIELD = 33,
    /// A profile of other ids than the pack's.
    ENGRAM_OTHER_PROFILE = 34,
    /// A token map that cannot be used.
    ENGRAM_BAD_TOKEN_MAP = 35,
    /// A row codec with impossible parameters.
    ENGRAM_BAD_CODEC = 36,
    /// A file of the checkpoint behind an attached pack is not where it was; the option "checkpoint" names its folder.
    ENGRAM_CHECKPOINT_MOVED = 37,
    /// A shared folder without room for the copies and caches that are to be made in it.
    ENGRAM_NO_SPACE = 38,
    /// A shared copy of a resident column can neither be used nor made.
    ENGRAM_UNUSABLE_COPY = 39,

    /// A token outside the vocabulary.
    ENGRAM_TOKEN_OUT_OF_RANGE = 40,
    /// A token outside the vocabulary, in a place of a window that is not blocked.
    ENGRAM_WINDOW_TOKEN_OUT_OF_RANGE = 41,
    /// Windows that are not whole. C callers count windows, so theirs always are.
    ENGRAM_WINDOW_SHAPE = 42,

    /// A layer without a table.
    ENGRAM_UNKNOWN_LAYER = 50,
    /// A row id beyond the last row of the layer.
    ENGRAM_ROW_OUT_OF_RANGE = 51,
    /// A batch of more than 4,294,967,295 rows.
    ENGRAM_BATCH_TOO_LARGE = 52,
    /// Memory that is not aligned for its values, or a stride that is not a multiple of their size.
    ENGRAM_MISALIGNED = 53,
    /// Memory too small for the rows.
    ENGRAM_OUTPUT_SIZE = 54,
    /// A record that is damaged, or belongs elsewhere.
    ENGRAM_DAMAGED = 55,
    /// Rows that could not be read.
    ENGRAM_UNREAD = 56,
    /// N-grams of another shape than the table's. C callers give none.
    ENGRAM_NGRAM_SHAPE = 57,
    /// A tier of the caller's has failed. The C interface has none.
    ENGRAM_TIER_FAILED = 58,
    /// A backing has dropped a read.
    ENGRAM_READ_DROPPED = 59,
    /// A reading thread has ended by a bug; the pack must be opened again.
    ENGRAM_ABORTED = 60,
    /// A store in a process that was forked from the one that opened it, and has none of its threads.
    ENGRAM_FORKED = 61,
    /// A file of the checkpoint behind an attached pack has changed since the pack was opened; open it again.
    ENGRAM_SOURCE_CHANGED = 62,
    /// A shared copy of a resident column is damaged. The message says whether it has been removed or is to be; then
    /// open the pack again.
    ENGRAM_DAMAGED_COPY = 63,
    /// A row of a column that is not among those that the option `columns` chose.
    ENGRAM_COLUMN_NOT_OPEN = 64,

    /// A frame of a cold pack that is damaged, or belongs elsewhere.
    ENGRAM_DAMAGED_FRAME = 67,

    /// A ticket that was cancelled.
    ENGRAM_CANCELLED = 65,
    /// A ticket that was waited for or cancelled before, so that nothing can be told about it any more.
    ENGRAM_TICKET_ENDED = 66,

    /// The system refused to do something with a file or folder.
    ENGRAM_FILE = 70,
    /// This process may not open more files.
    ENGRAM_TOO_MANY_FILES = 71,
    /// All processes together may not open more files.
    ENGRAM_TOO_MANY_FILES_IN_SYSTEM = 72,
    /// A read past the end of a file.
    ENGRAM_PAST_END = 73,
    /// A file that was cut shorter while it was open.
    ENGRAM_FILE_ENDED = 74,
    /// A file of another size than its use needs.
    ENGRAM_WRONG_SIZE = 75,
    /// The system refused memory.
    ENGRAM_NO_MEMORY = 76,
    /// The system refused something that concerns no file.
    ENGRAM_SYSTEM = 77,
    /// The system refused a thread.
    ENGRAM_NO_THREAD = 78,
    /// A new file that another process or thread is writing.
    ENGRAM_BUSY = 79,
    /// A new file larger than any that this process may write.
    ENGRAM_FILE_SIZE_LIMIT = 80,
    /// A file larger than any of its kind need be.
    ENGRAM_FILE_TOO_LARGE = 81,
    /// Something else where a file should be, such as a folder.
    ENGRAM_NOT_A_FILE = 82,
    /// A file that may not change while it is open, and has.
    ENGRAM_FILE_CHANGED = 83,

    /// Bytes of a file that are not those that were written.
    ENGRAM_FILE_DAMAGED = 84,

    /// A shard that is not where its stripe was when the pack was built, or where the option `stripes` says.
    ENGRAM_STRIPE_MISSING = 90,
    /// A cold pack, in a program without what decompresses it.
    ENGRAM_COLD_NOT_BUILT = 91,
    /// A cold pack that is to be read as only a packed one can be.
    ENGRAM_COLD_UNSUITED = 92,
    /// An index of a cold pack's frames that contradicts the rest.
    ENGRAM_BAD_FRAME_INDEX = 93,
    /// A dictionary of a cold pack that is none.
    ENGRAM_BAD_DICTIONARY = 94,

    /// An error that has no number yet; its message says what it is.
    ENGRAM_OTHER = 98,
    /// A bug of this library. The call had no effect that can be relied on.
    ENGRAM_PANIC = 99,
}

impl From<ErrorKind> for engram_status {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NullArgument => Self::ENGRAM_NULL_ARGUMENT,
            ErrorKind::BadArgument => Self::ENGRAM_BAD_ARGUMENT,
            ErrorKind::NotUtf8 => Self::ENGRAM_NOT_UTF8,
            ErrorKind::OptionsNotJson => Self::ENGRAM_OPTIONS_NOT_JSON,
            ErrorKind::OptionsUnknownField => Self::ENGRAM_OPTIONS_UNKNOWN_FIELD,
            ErrorKind::OptionsField => Self::ENGRAM_OPTIONS_FIELD,
            ErrorKind::NoStripe => Self::ENGRAM_NO_STRIPE,
            ErrorKind::BadColumns => Self::ENGRAM_BAD_COLUMNS,
            ErrorKind::NotAPack => Self::ENGRAM_NOT_A_PACK,
            ErrorKind::ColdNotBuilt => Self::ENGRAM_COLD_NOT_BUILT,
            ErrorKind::ColdUnsuited => Self::ENGRAM_COLD_UNSUITED,
            ErrorKind::BadFrameIndex => Self::ENGRAM_BAD_FRAME_INDEX,
            ErrorKind::BadDictionary => Self::ENGRAM_BAD_DICTIONARY,
            ErrorKind::BadScheme => Self::ENGRAM_BAD_SCHEME,
            ErrorKind::Changed => Self::ENGRAM_CHANGED,
            ErrorKind::BadGeometry => Self::ENGRAM_BAD_GEOMETRY,
            ErrorKind::NoColumns => Self::ENGRAM_NO_COLUMNS,
            ErrorKind::BadMagic => Self::ENGRAM_BAD_MAGIC,
            ErrorKind::NewerVersion => Self::ENGRAM_NEWER_VERSION,
            ErrorKind::BadChecksum => Self::ENGRAM_BAD_CHECKSUM,
            ErrorKind::BadHeaderField => Self::ENGRAM_BAD_HEADER_FIELD,
            ErrorKind::BadSize => Self::ENGRAM_BAD_SIZE,
            ErrorKind::TooLong => Self::ENGRAM_TOO_LONG,
            ErrorKind::BadManifest => Self::ENGRAM_BAD_MANIFEST,
            ErrorKind::BadManifestField => Self::ENGRAM_BAD_MANIFEST_FIELD,
            ErrorKind::BadProfileField => Self::ENGRAM_BAD_PROFILE_FIELD,
            ErrorKind::OtherProfile => Self::ENGRAM_OTHER_PROFILE,
            ErrorKind::BadTokenMap => Self::ENGRAM_BAD_TOKEN_MAP,
            ErrorKind::BadCodec => Self::ENGRAM_BAD_CODEC,
            ErrorKind::CheckpointMoved => Self::ENGRAM_CHECKPOINT_MOVED,
            ErrorKind::StripeMissing => Self::ENGRAM_STRIPE_MISSING,
            ErrorKind::NoSpace => Self::ENGRAM_NO_SPACE,
            ErrorKind::UnusableCopy => Self::ENGRAM_UNUSABLE_COPY,
            ErrorKind::TokenOutOfRange => Self::ENGRAM_TOKEN_OUT_OF_RANGE,
            ErrorKind::WindowTokenOutOfRange => Self::ENGRAM_WINDOW_TOKEN_OUT_OF_RANGE,
            ErrorKind::WindowShape => Self::ENGRAM_WINDOW_SHAPE,
            ErrorKind::UnknownLayer => Self::ENGRAM_UNKNOWN_LAYER,
            ErrorKind::RowOutOfRange => Self::ENGRAM_ROW_OUT_OF_RANGE,
            ErrorKind::ColumnNotOpen => Self::ENGRAM_COLUMN_NOT_OPEN,
            ErrorKind::BatchTooLarge => Self::ENGRAM_BATCH_TOO_LARGE,
            ErrorKind::Misaligned => Self::ENGRAM_MISALIGNED,
            ErrorKind::OutputSize => Self::ENGRAM_OUTPUT_SIZE,
            ErrorKind::Damaged => Self::ENGRAM_DAMAGED,
            ErrorKind::DamagedFrame => Self::ENGRAM_DAMAGED_FRAME,
            ErrorKind::Unread => Self::ENGRAM_UNREAD,
            ErrorKind::NgramShape => Self::ENGRAM_NGRAM_SHAPE,
            ErrorKind::TierFailed => Self::ENGRAM_TIER_FAILED,
            ErrorKind::ReadDropped => Self::ENGRAM_READ_DROPPED,
            ErrorKind::Aborted => Self::ENGRAM_ABORTED,
            ErrorKind::Forked => Self::ENGRAM_FORKED,
            ErrorKind::SourceChanged => Self::ENGRAM_SOURCE_CHANGED,
            ErrorKind::DamagedCopy => Self::ENGRAM_DAMAGED_COPY,
            ErrorKind::Cancelled => Self::ENGRAM_CANCELLED,
            ErrorKind::TicketEnded => Self::ENGRAM_TICKET_ENDED,
            ErrorKind::File => Self::ENGRAM_FILE,
            ErrorKind::TooManyFiles => Self::ENGRAM_TOO_MANY_FILES,
            ErrorKind::TooManyFilesInSystem => Self::ENGRAM_TOO_MANY_FILES_IN_SYSTEM,
            ErrorKind::PastEnd => Self::ENGRAM_PAST_END,
            ErrorKind::FileEnded => Self::ENGRAM_FILE_ENDED,
            ErrorKind::WrongSize => Self::ENGRAM_WRONG_SIZE,
            ErrorKind::NoMemory => Self::ENGRAM_NO_MEMORY,
            ErrorKind::System => Self::ENGRAM_SYSTEM,
            ErrorKind::NoThread => Self::ENGRAM_NO_THREAD,
            ErrorKind::Busy => Self::ENGRAM_BUSY,
            ErrorKind::FileSizeLimit => Self::ENGRAM_FILE_SIZE_LIMIT,
            ErrorKind::FileTooLarge => Self::ENGRAM_FILE_TOO_LARGE,
            ErrorKind::NotAFile => Self::ENGRAM_NOT_A_FILE,
            ErrorKind::FileDamaged => Self::ENGRAM_FILE_DAMAGED,
            ErrorKind::FileChanged => Self::ENGRAM_FILE_CHANGED,
            ErrorKind::Other => Self::ENGRAM_OTHER,
            ErrorKind::Panic => Self::ENGRAM_PANIC,
        }
    }
}
