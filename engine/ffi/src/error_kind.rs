//! What went wrong, for languages that cannot match on errors of Rust.

/// Why a call failed: one for each variant of the engine's errors, and some of what only other languages can get wrong.
/// C has a status code for each, Python a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No memory where some is needed.
    NullArgument,
    /// An argument that has no meaning, such as an unknown constant or a stride shorter than a row.
    BadArgument,
    /// Text that is not UTF-8.
    NotUtf8,

    /// Options that are not a JSON object.
    OptionsNotJson,
    /// Options with a field that there is not.
    OptionsUnknownField,
    /// Options with a field whose value it cannot have.
    OptionsField,
    /// Options that move a stripe which the pack has not.
    NoStripe,
    /// Options that choose columns which the pack has not.
    BadColumns,

    /// A folder without a manifest.
    NotAPack,
    /// A cold pack, in a program without what decompresses it.
    ColdNotBuilt,
    /// A cold pack that is to be read as only a packed one can be.
    ColdUnsuited,
    /// An index of a cold pack's frames that contradicts the rest.
    BadFrameIndex,
    /// A dictionary of a cold pack that is none.
    BadDictionary,
    /// An addressing scheme that cannot be used, or does not fit its token map.
    BadScheme,
    /// A checkpoint that has changed since the pack was attached to it.
    Changed,
    /// A backing whose reads cannot be planned.
    BadGeometry,
    /// Resident columns were asked of an attached pack, which has none.
    NoColumns,
    /// A file of another kind.
    BadMagic,
    /// A file that a later release has written.
    NewerVersion,
    /// A file that is damaged, or was edited.
    BadChecksum,
    /// A shard that belongs elsewhere.
    BadHeaderField,
    /// A file of another size than the format says.
    BadSize,
    /// A file or text longer than the format allows.
    TooLong,
    /// Text that is no manifest.
    BadManifest,
    /// A manifest with a field that contradicts the rest.
    BadManifestField,
    /// A profile with a field that contradicts the rest.
    BadProfileField,
    /// A profile of other ids than the pack's.
    OtherProfile,
    /// A token map that cannot be used.
    BadTokenMap,
    /// A row codec with impossible parameters.
    BadCodec,
    /// A file of the checkpoint behind an attached pack is not where it was.
    CheckpointMoved,
    /// A shard that is not where its stripe was when the pack was built, or where the option `stripes` says.
    StripeMissing,
    /// A shared folder without room for the copies and caches that are to be made in it.
    NoSpace,
    /// A shared copy of a resident column can neither be used nor made.
    UnusableCopy,

    /// A token outside the vocabulary.
    TokenOutOfRange,
    /// A token outside the vocabulary, in a place of a window that is not blocked.
    WindowTokenOutOfRange,
    /// Windows that are not whole.
    WindowShape,

    /// A layer without a table.
    UnknownLayer,
    /// A row id beyond the last row of the layer.
    RowOutOfRange,
    /// A row of a column that is not among those that the option `columns` chose.
    ColumnNotOpen,
    /// A batch of more than 4,294,967,295 rows.
    BatchTooLarge,
    /// Memory that is not aligned for its values, or a stride that is not a multiple of their size.
    Misaligned,
    /// Memory too small for the rows.
    OutputSize,
    /// A record that is damaged, or belongs elsewhere.
    Damaged,
    /// A frame of a cold pack that is damaged, or belongs elsewhere.
    DamagedFrame,
    /// Rows that could not be read.
    Unread,
    /// N-grams of another shape than the table's.
    NgramShape,
    /// A tier of the caller's has failed.
    TierFailed,
    /// A backing has dropped a read.
    ReadDropped,
    /// A reading thread has ended by a bug; the pack must be opened again.
    Aborted,
    /// A store in a process that was forked from the one that opened it, and has none of its threads.
    Forked,
    /// A file of the checkpoint behind an attached pack has changed since the pack was opened; open it again.
    SourceChanged,
    /// A shared copy of a resident column is damaged. The message says whether it has been removed or is to be; then
    /// open the pack again.
    DamagedCopy,

    /// A ticket that was cancelled.
    Cancelled,
    /// A ticket that was waited for or cancelled before, so that nothing can be told about it any more.
    TicketEnded,

    /// The system refused to do something with a file or folder.
    File,
    /// This process may not open more files.
    TooManyFiles,
    /// All processes together may not open more files.
    TooManyFilesInSystem,
    /// A read past the end of a file.
    PastEnd,
    /// A file that was cut shorter while it was open.
    FileEnded,
    /// A file of another size than its use needs.
    WrongSize,
    /// The system refused memory.
    NoMemory,
    /// The system refused something that concerns no file.
    System,
    /// The system refused a thread.
    NoThread,
    /// A new file that another process or thread is writing.
    Busy,
    /// A new file larger than any that this process may write.
    FileSizeLimit,
    /// A file larger than any of its kind need be.
    FileTooLarge,
    /// Something else where a file should be, such as a folder.
    NotAFile,
    /// A file that may not change while it is open, and has.
    FileChanged,
    /// Bytes of a file that are not those that were written.
    FileDamaged,

    /// An error that has no kind yet; its message says what it is.
    Other,
    /// A bug of this library. The call had no effect that can be relied on.
    Panic,
}
