//! From errors of the Rust library to status codes.

#![expect(clippy::enum_glob_use, reason = "nearly every status is named here")]

use engram::{AddressError, ConfigError, FormatError, IoError, LookupError, OpenError};

use crate::status::engram_status::{self, *};

/// Why a call failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) status: engram_status,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: engram_status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let status = match &error {
            ConfigError::NotJson { .. } => ENGRAM_OPTIONS_NOT_JSON,
            ConfigError::UnknownField { .. } => ENGRAM_OPTIONS_UNKNOWN_FIELD,
            ConfigError::Field { .. } => ENGRAM_OPTIONS_FIELD,
            _ => ENGRAM_OTHER,
        };
        Self::new(status, error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let status = match &error {
            OpenError::NotAPack { .. } => ENGRAM_NOT_A_PACK,
            OpenError::Format { cause, .. } => of_format(cause),
            OpenError::Scheme { .. } => ENGRAM_BAD_SCHEME,
            OpenError::Changed { .. } => ENGRAM_CHANGED,
            OpenError::Geometry { .. } => ENGRAM_BAD_GEOMETRY,
            OpenError::NoColumns => ENGRAM_NO_COLUMNS,
            OpenError::Io(cause) => of_io(cause),
            _ => ENGRAM_OTHER,
        };
        Self::new(status, error.to_string())
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        Self::from(&error)
    }
}

impl From<&LookupError> for Failure {
    fn from(error: &LookupError) -> Self {
        let status = match error {
            LookupError::UnknownLayer { .. } => ENGRAM_UNKNOWN_LAYER,
            LookupError::RowOutOfRange { .. } => ENGRAM_ROW_OUT_OF_RANGE,
            LookupError::BatchTooLarge { .. } => ENGRAM_BATCH_TOO_LARGE,
            LookupError::Misaligned { .. } => ENGRAM_MISALIGNED,
            LookupError::OutputSize { .. } => ENGRAM_OUTPUT_SIZE,
            LookupError::Damaged { .. } => ENGRAM_DAMAGED,
            LookupError::Unread { .. } => ENGRAM_UNREAD,
            LookupError::NGramShape { .. } => ENGRAM_NGRAM_SHAPE,
            LookupError::Tier(_) => ENGRAM_TIER_FAILED,
            LookupError::ReadDropped => ENGRAM_READ_DROPPED,
            LookupError::Aborted => ENGRAM_ABORTED,
            LookupError::Io(cause) => of_io(cause),
            _ => ENGRAM_OTHER,
        };
        Self::new(status, error.to_string())
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let status = match &error {
            AddressError::TokenOutOfRange { .. } => ENGRAM_TOKEN_OUT_OF_RANGE,
            AddressError::WindowTokenOutOfRange { .. } => ENGRAM_WINDOW_TOKEN_OUT_OF_RANGE,
            AddressError::WindowShape { .. } => ENGRAM_WINDOW_SHAPE,
            _ => ENGRAM_OTHER,
        };
        Self::new(status, error.to_string())
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        Self::new(of_io(&error), error.to_string())
    }
}

fn of_format(error: &FormatError) -> engram_status {
    match error {
        FormatError::Magic { .. } => ENGRAM_BAD_MAGIC,
        FormatError::Version { .. } => ENGRAM_NEWER_VERSION,
        FormatError::Checksum { .. } => ENGRAM_BAD_CHECKSUM,
        FormatError::HeaderField { .. } => ENGRAM_BAD_HEADER_FIELD,
        FormatError::Size { .. } => ENGRAM_BAD_SIZE,
        FormatError::TooLong { .. } => ENGRAM_TOO_LONG,
        FormatError::Manifest { .. } => ENGRAM_BAD_MANIFEST,
        FormatError::ManifestField { .. } => ENGRAM_BAD_MANIFEST_FIELD,
        FormatError::ProfileField { .. } => ENGRAM_BAD_PROFILE_FIELD,
        FormatError::OtherProfile { .. } => ENGRAM_OTHER_PROFILE,
        FormatError::Scheme(_) => ENGRAM_BAD_SCHEME,
        FormatError::TokenMap(_) => ENGRAM_BAD_TOKEN_MAP,
        FormatError::Codec { .. } => ENGRAM_BAD_CODEC,
        _ => ENGRAM_OTHER,
    }
}

fn of_io(error: &IoError) -> engram_status {
    match error {
        IoError::Os { .. } => ENGRAM_FILE,
        IoError::TooManyFiles { .. } => ENGRAM_TOO_MANY_FILES,
        IoError::TooManyFilesInSystem { .. } => ENGRAM_TOO_MANY_FILES_IN_SYSTEM,
        IoError::PastEnd { .. } => ENGRAM_PAST_END,
        IoError::Ended { .. } => ENGRAM_FILE_ENDED,
        IoError::WrongSize { .. } => ENGRAM_WRONG_SIZE,
        IoError::NoMemory { .. } => ENGRAM_NO_MEMORY,
        IoError::System { .. } => ENGRAM_SYSTEM,
        _ => ENGRAM_OTHER,
    }
}
