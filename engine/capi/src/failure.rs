//! From errors of the Rust library to status codes.

use engram::{AddressError, ConfigError, FormatError, IoError, LookupError, OpenError};

use crate::status::engram_status;

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
            ConfigError::NotJson { .. } => engram_status::ENGRAM_OPTIONS_NOT_JSON,
            ConfigError::UnknownField { .. } => engram_status::ENGRAM_OPTIONS_UNKNOWN_FIELD,
            ConfigError::Field { .. } => engram_status::ENGRAM_OPTIONS_FIELD,
            _ => engram_status::ENGRAM_OTHER,
        };
        Self::new(status, error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let status = match &error {
            OpenError::NotAPack { .. } => engram_status::ENGRAM_NOT_A_PACK,
            OpenError::Format { cause, .. } => of_format(cause),
            OpenError::Scheme { .. } => engram_status::ENGRAM_BAD_SCHEME,
            OpenError::Changed { .. } => engram_status::ENGRAM_CHANGED,
            OpenError::Geometry { .. } => engram_status::ENGRAM_BAD_GEOMETRY,
            OpenError::NoColumns => engram_status::ENGRAM_NO_COLUMNS,
            OpenError::CheckpointMoved { .. } => engram_status::ENGRAM_CHECKPOINT_MOVED,
            OpenError::NoSpace { .. } => engram_status::ENGRAM_NO_SPACE,
            OpenError::UnusableCopy { .. } => engram_status::ENGRAM_UNUSABLE_COPY,
            OpenError::DamagedCopy { .. } => engram_status::ENGRAM_DAMAGED_COPY,
            OpenError::TooManyFiles { .. } => engram_status::ENGRAM_TOO_MANY_FILES,
            OpenError::StripeMissing { .. } => engram_status::ENGRAM_STRIPE_MISSING,
            OpenError::NoStripe { .. } => engram_status::ENGRAM_NO_STRIPE,
            OpenError::Columns { .. } => engram_status::ENGRAM_BAD_COLUMNS,
            OpenError::Io(cause) => of_io(cause),
            _ => engram_status::ENGRAM_OTHER,
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
            LookupError::UnknownLayer { .. } => engram_status::ENGRAM_UNKNOWN_LAYER,
            LookupError::RowOutOfRange { .. } => engram_status::ENGRAM_ROW_OUT_OF_RANGE,
            LookupError::ColumnNotOpen { .. } => engram_status::ENGRAM_COLUMN_NOT_OPEN,
            LookupError::BatchTooLarge { .. } => engram_status::ENGRAM_BATCH_TOO_LARGE,
            LookupError::Misaligned { .. } => engram_status::ENGRAM_MISALIGNED,
            LookupError::OutputSize { .. } => engram_status::ENGRAM_OUTPUT_SIZE,
            LookupError::Damaged { .. } => engram_status::ENGRAM_DAMAGED,
            LookupError::DamagedCopy { .. } => engram_status::ENGRAM_DAMAGED_COPY,
            LookupError::SourceChanged { .. } => engram_status::ENGRAM_SOURCE_CHANGED,
            LookupError::Unread { .. } => engram_status::ENGRAM_UNREAD,
            LookupError::NGramShape { .. } => engram_status::ENGRAM_NGRAM_SHAPE,
            LookupError::Tier(_) => engram_status::ENGRAM_TIER_FAILED,
            LookupError::Forked { .. } => engram_status::ENGRAM_FORKED,
            LookupError::ReadDropped => engram_status::ENGRAM_READ_DROPPED,
            LookupError::Cancelled => engram_status::ENGRAM_CANCELLED,
            LookupError::Aborted => engram_status::ENGRAM_ABORTED,
            LookupError::Io(cause) => of_io(cause),
            _ => engram_status::ENGRAM_OTHER,
        };
        Self::new(status, error.to_string())
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let status = match &error {
            AddressError::TokenOutOfRange { .. } => engram_status::ENGRAM_TOKEN_OUT_OF_RANGE,
            AddressError::WindowTokenOutOfRange { .. } => {
                engram_status::ENGRAM_WINDOW_TOKEN_OUT_OF_RANGE
            }
            AddressError::WindowShape { .. } => engram_status::ENGRAM_WINDOW_SHAPE,
            _ => engram_status::ENGRAM_OTHER,
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
        FormatError::Magic { .. } => engram_status::ENGRAM_BAD_MAGIC,
        FormatError::Version { .. } => engram_status::ENGRAM_NEWER_VERSION,
        FormatError::Checksum { .. } => engram_status::ENGRAM_BAD_CHECKSUM,
        FormatError::HeaderField { .. } => engram_status::ENGRAM_BAD_HEADER_FIELD,
        FormatError::Size { .. } => engram_status::ENGRAM_BAD_SIZE,
        FormatError::TooLong { .. } => engram_status::ENGRAM_TOO_LONG,
        FormatError::Manifest { .. } => engram_status::ENGRAM_BAD_MANIFEST,
        FormatError::ManifestField { .. } => engram_status::ENGRAM_BAD_MANIFEST_FIELD,
        FormatError::ProfileField { .. } => engram_status::ENGRAM_BAD_PROFILE_FIELD,
        FormatError::OtherProfile { .. } => engram_status::ENGRAM_OTHER_PROFILE,
        FormatError::Scheme(_) => engram_status::ENGRAM_BAD_SCHEME,
        FormatError::TokenMap(_) => engram_status::ENGRAM_BAD_TOKEN_MAP,
        FormatError::Codec { .. } => engram_status::ENGRAM_BAD_CODEC,
        _ => engram_status::ENGRAM_OTHER,
    }
}

fn of_io(error: &IoError) -> engram_status {
    match error {
        IoError::Os { .. } => engram_status::ENGRAM_FILE,
        IoError::TooManyFiles { .. } => engram_status::ENGRAM_TOO_MANY_FILES,
        IoError::TooManyFilesInSystem { .. } => engram_status::ENGRAM_TOO_MANY_FILES_IN_SYSTEM,
        IoError::Busy { .. } => engram_status::ENGRAM_BUSY,
        IoError::FileSizeLimit { .. } => engram_status::ENGRAM_FILE_SIZE_LIMIT,
        IoError::PastEnd { .. } => engram_status::ENGRAM_PAST_END,
        IoError::Ended { .. } => engram_status::ENGRAM_FILE_ENDED,
        IoError::WrongSize { .. } => engram_status::ENGRAM_WRONG_SIZE,
        IoError::TooLarge { .. } => engram_status::ENGRAM_FILE_TOO_LARGE,
        IoError::NotAFile { .. } => engram_status::ENGRAM_NOT_A_FILE,
        IoError::Changed(_) => engram_status::ENGRAM_FILE_CHANGED,
        IoError::NoMemory { .. } => engram_status::ENGRAM_NO_MEMORY,
        IoError::NoThread { .. } => engram_status::ENGRAM_NO_THREAD,
        IoError::System { .. } => engram_status::ENGRAM_SYSTEM,
        _ => engram_status::ENGRAM_OTHER,
    }
}

#[cfg(test)]
mod tests {
    /// The enums that are matched here, and where they are.
    const ERRORS: [(&str, &str); 6] = [
        (
            "ConfigError",
            include_str!("../../store/src/config/json.rs"),
        ),
        ("OpenError", include_str!("../../store/src/error.rs")),
        ("LookupError", include_str!("../../store/src/error.rs")),
        ("AddressError", include_str!("../../format/src/error.rs")),
        ("FormatError", include_str!("../../format/src/error.rs")),
        ("IoError", include_str!("../../io/src/error.rs")),
    ];

    /// The variants of the enum `name` in `source`, as rustfmt indents them.
    fn variants<'a>(name: &str, source: &'a str) -> Vec<&'a str> {
        let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
        let variants = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        variants
            .filter_map(|line| line.split(|c: char| !c.is_alphanumeric()).next())
            .collect()
    }

    /// The compiler cannot see to it: the enums are `non_exhaustive`, so that every match needs a `_`.
    #[test]
    fn every_error_has_a_status() {
        let source = include_str!("failure.rs");
        for (name, defined_in) in ERRORS {
            let variants = variants(name, defined_in);
            assert!(!variants.is_empty(), "{name}");
            for variant in variants {
                let is_matched = [" {", "(", " =>"]
                    .iter()
                    .any(|next| source.contains(&format!("{name}::{variant}{next}")));
                assert!(is_matched, "{name}::{variant} comes out as ENGRAM_OTHER");
            }
        }
    }
}
