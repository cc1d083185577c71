"""What can go wrong: one class for each kind of error of the engine, under the class of the call that it comes from.

``EngramError`` is the root. Classes are also of the built-in type that fits (``ValueError``, ``OSError`` ...). The message
names the file or argument, what was expected and what was found.
"""


class EngramError(Exception):
    """Any error of this package."""


class BadArgumentError(EngramError, ValueError):
    """An argument with a value, shape or memory that it cannot have."""


class ArgumentTypeError(EngramError, TypeError):
    """An argument of a type, or an array of items, that it cannot have."""


class NullArgumentError(BadArgumentError):
    """No memory where some is needed."""


class NotUtf8Error(BadArgumentError):
    """Text that is not UTF-8."""


class ClosedError(EngramError, ValueError):
    """A store that was closed."""


class ConfigError(EngramError, ValueError):
    """Settings that cannot be read."""


class OptionsNotJsonError(ConfigError):
    """Settings that are not a JSON object."""


class OptionsUnknownFieldError(ConfigError):
    """A setting that there is not."""


class OptionsFieldError(ConfigError):
    """A setting with a value that it cannot have."""


class NoStripeError(ConfigError):
    """Settings that move a stripe which the pack has not."""


class BadColumnsError(ConfigError):
    """Settings that choose columns which the pack has not."""


class OpenError(EngramError):
    """A pack that cannot be opened."""


class NotAPackError(OpenError):
    """A folder without a manifest."""


class ColdNotBuiltError(OpenError):
    """A cold pack, in a program without what decompresses it."""


class ColdUnsuitedError(OpenError):
    """A cold pack that is to be read as only a packed one can be."""


class BadFrameIndexError(OpenError):
    """An index of a cold pack's frames that contradicts the rest."""


class BadDictionaryError(OpenError):
    """A dictionary of a cold pack that is none."""


class BadSchemeError(OpenError):
    """An addressing scheme that cannot be used, or does not fit its token map."""


class ChangedError(OpenError):
    """A checkpoint that has changed since the pack was attached to it."""


class BadGeometryError(OpenError):
    """A backing whose reads cannot be planned."""


class NoColumnsError(OpenError):
    """Resident columns were asked of an attached pack, which has none."""


class CheckpointMovedError(OpenError):
    """A file of the checkpoint behind an attached pack is not where it was; ``checkpoint=`` names its folder."""


class StripeMissingError(OpenError):
    """A shard that is not where its stripe was when the pack was built, or where the setting ``stripes`` says."""


class NoSpaceError(OpenError):
    """A shared folder without room for the copies and caches that are to be made in it."""


class UnusableCopyError(OpenError):
    """A shared copy of a resident column can neither be used nor made."""


class FormatError(OpenError):
    """A file that is not what the format or the manifest says."""


class BadMagicError(FormatError):
    """A file of another kind."""


class NewerVersionError(FormatError):
    """A file that a later release has written."""


class BadChecksumError(FormatError):
    """A file that is damaged, or was edited."""


class BadHeaderFieldError(FormatError):
    """A shard that belongs elsewhere."""


class BadSizeError(FormatError):
    """A file of another size than the format says."""


class TooLongError(FormatError):
    """A file or text longer than the format allows."""


class BadManifestError(FormatError):
    """Text that is no manifest."""


class BadManifestFieldError(FormatError):
    """A manifest with a field that contradicts the rest."""


class BadProfileFieldError(FormatError):
    """A profile with a field that contradicts the rest."""


class OtherProfileError(FormatError):
    """A profile of other ids than the pack's."""


class BadTokenMapError(FormatError):
    """A token map that cannot be used."""


class BadCodecError(FormatError):
    """A row codec with impossible parameters."""


class AddressError(EngramError, ValueError):
    """Tokens that have no rows."""


class TokenOutOfRangeError(AddressError):
    """A token outside the vocabulary."""


class WindowTokenOutOfRangeError(AddressError):
    """A token outside the vocabulary, in a place of a window that is not blocked."""


class WindowShapeError(AddressError):
    """Windows that are not whole."""


class RowsError(EngramError):
    """Rows that cannot be had. None of the call is handed out: where there is memory for them, it is all zeros."""


class UnknownLayerError(RowsError, ValueError):
    """A layer without a table."""


class RowOutOfRangeError(RowsError, IndexError):
    """A row id beyond the last row of the layer."""


class ColumnNotOpenError(RowsError, IndexError):
    """A row of a column that is not among those that the setting ``columns`` chose."""


class BatchTooLargeError(RowsError, ValueError):
    """More than 4,294,967,295 rows."""


class MisalignedError(RowsError, ValueError):
    """Memory that is not aligned for its values, or a stride that is not a multiple of their size."""


class OutputSizeError(RowsError, ValueError):
    """Memory too small for the rows."""


class DamagedError(RowsError):
    """A record that is damaged, or belongs elsewhere."""


class DamagedFrameError(RowsError):
    """A frame of a cold pack that is damaged, or belongs elsewhere."""


class DamagedCopyError(OpenError, RowsError):
    """A shared copy of a resident column that is damaged."""


class SourceChangedError(RowsError):
    """A file of the checkpoint behind an attached pack has changed since the pack was opened."""


class UnreadError(RowsError):
    """Rows that could not be read."""


class NgramShapeError(RowsError):
    """N-grams of another shape than the table's."""


class TierFailedError(RowsError):
    """A tier of the caller's has failed."""


class ForkedError(RowsError):
    """A ticket from before a fork, in the forked process. A store is opened again there."""


class ReadDroppedError(RowsError):
    """A backing has dropped a read."""


class AbortedError(RowsError):
    """A reading thread has ended by a bug; the pack must be opened again."""


class TicketError(EngramError):
    """A ticket of which nothing more can be had."""


class CancelledError(TicketError):
    """A ticket that was cancelled."""


class TicketEndedError(TicketError):
    """A ticket that was waited for or cancelled before."""


class IoError(EngramError, OSError):
    """What the system refused."""


class FileError(IoError):
    """Something with a file or folder."""


class TooManyFilesError(IoError):
    """This process may not open more files."""


class TooManyFilesInSystemError(IoError):
    """All processes together may not open more files."""


class PastEndError(IoError):
    """A read past the end of a file."""


class FileEndedError(IoError):
    """A file that was cut shorter while it was open."""


class WrongSizeError(IoError):
    """A file of another size than its use needs."""


class NoMemoryError(EngramError, MemoryError):
    """Memory."""


class SystemError(IoError):
    """Something that concerns no file."""


class NoThreadError(IoError):
    """A thread."""


class BusyError(IoError):
    """A new file that another process or thread is writing."""


class FileSizeLimitError(IoError):
    """A new file larger than any that this process may write."""


class FileTooLargeError(IoError):
    """A file larger than any of its kind need be."""


class NotAFileError(IoError):
    """Something else where a file should be, such as a folder."""


class FileChangedError(IoError):
    """A file that may not change while it is open, and has."""


class FileDamagedError(IoError):
    """Bytes of a file that are not those that were written."""


class PackError(EngramError):
    """A pack that cannot be built, attached or verified."""


class OtherError(EngramError):
    """An error that has no class yet."""


class PanicError(EngramError):
    """A bug of this package. The call had no effect that can be relied on."""
