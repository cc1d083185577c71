//! Copies of resident columns that processes share.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use engram_format::{Digest, FormatError};
use engram_io::{Access, Io, IoError, NewFile, ReadAt, create_folder};

use super::{files::check_size, made_files::MadeFiles, space};
use crate::{
    error::OpenError,
    shared_copy::SharedCopy,
    shared_folder::{copy_name, lock_name, remove_interrupted, unfinished_name},
};

/// Bytes copied at a time.
const COPY_BYTES: usize = 4 << 20;

/// The shard of which a copy is wanted.
pub(super) struct Original<'a> {
    pub(super) path: &'a Path,
    /// Of its data, which tells it from the shards of every other pack.
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    /// Checks the header of the file at a path.
    pub(super) check: &'a dyn Fn(&Path, &dyn ReadAt) -> Result<(), OpenError>,
}

/// Whether a copy of the shard of `bytes` bytes whose data have this digest lies in `folder`.
pub(super) fn has_copy(folder: &Path, digest: Digest, bytes: u64) -> bool {
    fs::metadata(folder.join(copy_name(digest))).is_ok_and(|found| found.len() == bytes)
}

/// Maps the copy of `original` in `folder`. It is made if it is not there, and anew if its size or header is wrong;
/// only then is anything written to the folder.
pub(super) fn map_copy(
    io: &dyn Io,
    original: &Original<'_>,
    folder: &Path,
    made_files: &MadeFiles,
) -> Result<(Box<dyn ReadAt>, SharedCopy), OpenError> {
    let path = folder.join(copy_name(original.digest));
    let damage = match existing(io, original, &path)? {
        Found::Right(reader, copy) => return Ok((reader, copy)),
        Found::Nothing => None,
        Found::Damaged(damage) => Some(damage),
    };
    let made = make(io, original, folder, &path, made_files);
    // Where this process could not, another may have made it meanwhile.
    match (existing(io, original, &path)?, made) {
        (Found::Right(reader, copy), _) => Ok((reader, copy)),
        // The shard itself is no better.
        (Found::Damaged(cause), Ok(())) => Err(OpenError::Format {
            path: original.path.into(),
            cause,
        }),
        (_, Err(error)) if space::is_full(&error) => Err(space::none(folder, original.bytes)),
        (_, Err(cause)) => Err(match damage {
            None => unusable(path, original, cause),
            Some(damage) => OpenError::DamagedCopy {
                path,
                damage,
                cause: cause.into(),
            },
        }),
        (Found::Nothing, Ok(())) => {
            let cause = io::Error::other("it was removed as soon as it was made");
            let cause = IoError::os("open", &path)(cause);
            Err(unusable(path, original, cause))
        }
    }
}

/// What lies in the place of a copy.
enum Found {
    Right(Box<dyn ReadAt>, SharedCopy),
    Damaged(FormatError),
    Nothing,
}

fn existing(io: &dyn Io, original: &Original<'_>, path: &Path) -> Result<Found, OpenError> {
    let open = || {
        check_size(path, original.bytes)?;
        let copy = SharedCopy::of(path)?;
        let reader = io.open(path, Access::Mmap)?;
        (original.check)(path, &*reader)?;
        Ok(Found::Right(reader, copy))
    };
    match open() {
        Err(OpenError::Format { cause, .. }) => Ok(Found::Damaged(cause)),
        Err(OpenError::Io(error)) if kind(&error) == Some(ErrorKind::NotFound) => {
            Ok(Found::Nothing)
        }
        Err(OpenError::Io(error)) if kind(&error) == Some(ErrorKind::PermissionDenied) => {
            Err(unusable(path.into(), original, error))
        }
        opened => opened,
    }
}

fn kind(error: &IoError) -> Option<ErrorKind> {
    error.os_error().map(io::Error::kind)
}

fn unusable(path: PathBuf, original: &Original<'_>, cause: IoError) -> OpenError {
    OpenError::UnusableCopy {
        path,
        shard: original.path.into(),
        cause: Box::new(cause),
    }
}

/// Makes the copy at `path`, unless another process does.
fn make(
    io: &dyn Io,
    original: &Original<'_>,
    folder: &Path,
    path: &Path,
    made_files: &MadeFiles,
) -> Result<(), IoError> {
    create_folder(folder)?;
    let locked = lock(&folder.join(lock_name(original.digest)));
    match &locked {
        Ok(_) => {
            if matches!(existing(io, original, path), Ok(Found::Right(..))) {
                return Ok(());
            }
            remove_interrupted(folder, original.digest);
        }
        // A lock only saves that several processes make the same copy: each has a file of its own until then.
        Err(error) => tracing::debug!(%error, "making a shared copy without a lock"),
    }
    let number = RandomState::new().build_hasher().finish();
    let unfinished = folder.join(unfinished_name(original.digest, number));
    copy(io, original, &unfinished)?;
    let renamed = fs::rename(&unfinished, path);
    if let Err(cause) = renamed {
        let _ = fs::remove_file(&unfinished);
        return Err(IoError::os("make", path)(cause));
    }
    made_files.add(path.into());
    Ok(())
}

/// Waits for the lock at `path`, and holds it until the file is dropped. It is opened to be read if it is there, as
/// that is all that another user may do.
fn lock(path: &Path) -> Result<File, IoError> {
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let made = OpenOptions::new().write(true).create_new(true).open(path);
            match made {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => File::open(path),
                made => made,
            }
        }
        opened => opened,
    };
    let file = file.map_err(IoError::os("open", path))?;
    loop {
        match file.lock() {
            Ok(()) => return Ok(file),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(IoError::os("lock", path)(e)),
        }
    }
}

fn copy(io: &dyn Io, original: &Original<'_>, to: &Path) -> Result<(), IoError> {
    let source = io.open(original.path, Access::Sequential)?;
    let mut new = NewFile::create(to, original.bytes)?;
    let mut chunk = vec![0; COPY_BYTES];
    let mut offset = 0;
    while offset < original.bytes {
        let left = usize::try_from(original.bytes - offset).unwrap_or(usize::MAX);
        let piece = &mut chunk[..left.min(COPY_BYTES)];
        source.read_at(offset, piece)?;
        new.write(piece)?;
        offset += piece.len() as u64;
    }
    new.publish()
}
