//! The small files of a pack: manifest, token map, profile.

use std::{io::ErrorKind, path::Path};

use engram_format::{
    Digest, Hasher, MANIFEST_FILE, MAX_MANIFEST_BYTES, MAX_PROFILE_BYTES, Manifest, Profile,
    TOKEN_MAP_FILE, TokenMap, TokenMapFile, WindowRules,
};

use super::files::{check_digest, check_size, in_file, read_file};
use crate::error::OpenError;

/// Reads the manifest of the pack in the folder `pack`, and nothing else.
///
/// # Errors
/// A manifest that is missing, damaged or newer.
pub fn read_manifest(pack: impl AsRef<Path>) -> Result<Manifest, OpenError> {
    let pack = pack.as_ref();
    let path = pack.join(MANIFEST_FILE);
    match read_file(&path, "manifest", MAX_MANIFEST_BYTES) {
        Err(OpenError::Io(error))
            if error
                .os_error()
                .is_some_and(|cause| cause.kind() == ErrorKind::NotFound) =>
        {
            Err(OpenError::NotAPack { path: pack.into() })
        }
        read => Manifest::from_text(&read?).map_err(in_file(&path)),
    }
}

/// What turns tokens into the row ids of the pack in the folder `pack`; no shard need be there.
///
/// # Errors
/// A manifest or token map that is missing or damaged, or that do not fit each other.
pub fn read_hasher(pack: impl AsRef<Path>) -> Result<Hasher, OpenError> {
    let pack = pack.as_ref();
    hasher_of(pack, &read_manifest(pack)?)
}

/// Reads and checks the profile at `path`, whatever model it is of.
///
/// # Errors
/// A file that is missing, damaged or newer, or no profile.
pub fn read_profile(path: impl AsRef<Path>) -> Result<Profile, OpenError> {
    let path = path.as_ref();
    Profile::from_bytes(&read_file(path, "profile", MAX_PROFILE_BYTES)?).map_err(in_file(path))
}

/// The profile at `path`, which must be of what `hasher` hashes.
pub(super) fn profile_of(path: &Path, hasher: &Hasher) -> Result<Profile, OpenError> {
    let profile = read_profile(path)?;
    let rules = WindowRules::of(hasher);
    profile.rules().check(&rules).map_err(in_file(path))?;
    Ok(profile)
}

/// What turns tokens into the row ids of the pack in the folder `pack`, which has the manifest `manifest`.
pub(super) fn hasher_of(pack: &Path, manifest: &Manifest) -> Result<Hasher, OpenError> {
    let vocab_size = manifest.scheme.hashed_vocab_size;
    let token_map = manifest.token_map.as_ref();
    let token_map = token_map
        .map(|file| read_token_map(pack, file, vocab_size))
        .transpose()?;
    Hasher::new(manifest.scheme.clone(), token_map).map_err(|cause| OpenError::Scheme {
        path: pack.into(),
        cause,
    })
}

fn read_token_map(
    pack: &Path,
    file: &TokenMapFile,
    vocab_size: u32,
) -> Result<TokenMap, OpenError> {
    let path = pack.join(TOKEN_MAP_FILE);
    check_size(&path, 4 * file.entries)?;
    let bytes = read_file(&path, "token map", 4 * file.entries)?;
    check_digest(&path, "token map", Digest::of(&bytes), file.digest)?;
    TokenMap::from_bytes(&bytes, vocab_size).map_err(|e| in_file(&path)(e.into()))
}
