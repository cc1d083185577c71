//! From errors of the engine to kinds.

use engram::{AddressError, ConfigError, FormatError, IoError, LookupError, OpenError};

use crate::error_kind::ErrorKind;

/// Why a call failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The same for people: the file or argument, what was expected and what was found.
    pub message: String,
}

impl Failure {
    /// A failure of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let kind = match &error {
            ConfigError::NotJson { .. } => ErrorKind::OptionsNotJson,
            ConfigError::UnknownField { .. } => ErrorKind::OptionsUnknownField,
            ConfigError::Field { .. } => ErrorKind::OptionsField,
            _ => ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let kind = match &error {
            OpenError::NotAPack { .. } => ErrorKind::NotAPack,
            OpenError::Format { cause, .. } => of_format(cause),
            OpenError::ColdNotBuilt { .. } => ErrorKind::ColdNotBuilt,
            OpenError::ColdUnsuited { .. } => ErrorKind::ColdUnsuited,
            OpenError::Scheme { .. } => ErrorKind::BadScheme,
            OpenError::Changed { .. } => ErrorKind::Changed,
            OpenError::Geometry { .. } => ErrorKind::BadGeometry,
            OpenError::NoColumns => ErrorKind::NoColumns,
            OpenError::CheckpointMoved { .. } => ErrorKind::CheckpointMoved,
            OpenError::StripeMissing { .. } => ErrorKind::StripeMissing,
            OpenError::NoStripe { .. } => ErrorKind::NoStripe,
            OpenError::Columns { .. } => ErrorKind::BadColumns,
            OpenError::NoSpace { .. } => ErrorKind::NoSpace,
            OpenError::UnusableCopy { .. } => ErrorKind::UnusableCopy,
            OpenError::DamagedCopy { .. } => ErrorKind::DamagedCopy,
            OpenError::TooManyFiles { .. } => ErrorKind::TooManyFiles,
            OpenError::Io(cause) => of_io(cause),
            _ => ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        Self::from(&error)
    }
}

impl From<&LookupError> for Failure {
    fn from(error: &LookupError) -> Self {
        let kind = match error {
            LookupError::UnknownLayer { .. } => ErrorKind::UnknownLayer,
            LookupError::RowOutOfRange { .. } => ErrorKind::RowOutOfRange,
            LookupError::ColumnNotOpen { .. } => ErrorKind::ColumnNotOpen,
            LookupError::Cancelled => ErrorKind::Cancelled,
            LookupError::BatchTooLarge { .. } => ErrorKind::BatchTooLarge,
            LookupError::Misaligned { .. } => ErrorKind::Misaligned,
            LookupError::OutputSize { .. } => ErrorKind::OutputSize,
            LookupError::Damaged { .. } => ErrorKind::Damaged,
            LookupError::DamagedFrame { .. } => ErrorKind::DamagedFrame,
            LookupError::DamagedCopy { .. } => ErrorKind::DamagedCopy,
            LookupError::SourceChanged { .. } => ErrorKind::SourceChanged,
            LookupError::Unread { .. } => ErrorKind::Unread,
            LookupError::NGramShape { .. } => ErrorKind::NgramShape,
            LookupError::Tier(_) => ErrorKind::TierFailed,
            LookupError::Forked { .. } => ErrorKind::Forked,
            LookupError::ReadDropped => ErrorKind::ReadDropped,
            LookupError::Aborted => ErrorKind::Aborted,
            LookupError::Io(cause) => of_io(cause),
            _ => ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let kind = match &error {
            AddressError::TokenOutOfRange { .. } => ErrorKind::TokenOutOfRange,
            AddressError::WindowTokenOutOfRange { .. } => ErrorKind::WindowTokenOutOfRange,
            AddressError::WindowShape { .. } => ErrorKind::WindowShape,
            _ => ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        Self::new(of_io(&error), error.to_string())
    }
}

fn of_format(error: &FormatError) -> ErrorKind {
    match error {
        FormatError::Magic { .. } => ErrorKind::BadMagic,
        FormatError::Version { .. } => ErrorKind::NewerVersion,
        FormatError::Checksum { .. } => ErrorKind::BadChecksum,
        FormatError::HeaderField { .. } => ErrorKind::BadHeaderField,
        FormatError::FrameIndex { .. } => ErrorKind::BadFrameIndex,
        FormatError::Dictionary { .. } => ErrorKind::BadDictionary,
        FormatError::Size { .. } => ErrorKind::BadSize,
        FormatError::TooLong { .. } => ErrorKind::TooLong,
        FormatError::Manifest { .. } => ErrorKind::BadManifest,
        FormatError::ManifestField { .. } => ErrorKind::BadManifestField,
        FormatError::ProfileField { .. } => ErrorKind::BadProfileField,
        FormatError::OtherProfile { .. } => ErrorKind::OtherProfile,
        FormatError::Scheme(_) => ErrorKind::BadScheme,
        FormatError::TokenMap(_) => ErrorKind::BadTokenMap,
        FormatError::Codec { .. } => ErrorKind::BadCodec,
        _ => ErrorKind::Other,
    }
}

fn of_io(error: &IoError) -> ErrorKind {
    match error {
        IoError::Os { .. } => ErrorKind::File,
        IoError::TooManyFiles { .. } => ErrorKind::TooManyFiles,
        IoError::TooManyFilesInSystem { .. } => ErrorKind::TooManyFilesInSystem,
        IoError::Busy { .. } => ErrorKind::Busy,
        IoError::FileSizeLimit { .. } => ErrorKind::FileSizeLimit,
        IoError::PastEnd { .. } => ErrorKind::PastEnd,
        IoError::Ended { .. } => ErrorKind::FileEnded,
        IoError::WrongSize { .. } => ErrorKind::WrongSize,
        IoError::TooLarge { .. } => ErrorKind::FileTooLarge,
        IoError::NotAFile { .. } => ErrorKind::NotAFile,
        IoError::Changed(_) => ErrorKind::FileChanged,
        IoError::Damaged { .. } => ErrorKind::FileDamaged,
        IoError::NoMemory { .. } => ErrorKind::NoMemory,
        IoError::NoThread { .. } => ErrorKind::NoThread,
        IoError::System { .. } => ErrorKind::System,
        _ => ErrorKind::Other,
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
    fn every_error_has_a_kind() {
        let source = include_str!("failure.rs");
        for (name, defined_in) in ERRORS {
            let variants = variants(name, defined_in);
            assert!(!variants.is_empty(), "{name}");
            for variant in variants {
                let is_matched = [" {", "(", " =>"]
                    .iter()
                    .any(|next| source.contains(&format!("{name}::{variant}{next}")));
                assert!(
                    is_matched,
                    "{name}::{variant} comes out as ErrorKind::Other"
                );
            }
        }
    }
}
