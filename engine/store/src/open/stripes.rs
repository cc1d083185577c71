//! Where the shards of a pack lie.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use engram_format::{Manifest, PACK_FOLDER};

use crate::error::OpenError;

/// Paths of the shards, packed or cold, of the pack in the folder `pack`: for each table, those of its columns. `moved`
/// has the folders of stripes that do not lie where they did when the pack was built, as
/// [`Config::stripe`](crate::Config::stripe).
///
/// # Errors
/// A moved stripe that the pack has not.
///
/// # Panics
/// Never for a manifest that was read.
pub fn shard_paths(
    pack: impl AsRef<Path>,
    manifest: &Manifest,
    moved: &BTreeMap<u32, PathBuf>,
) -> Result<Vec<Vec<PathBuf>>, OpenError> {
    let pack = pack.as_ref();
    let stripes = manifest.stripes.as_ref();
    let recorded = stripes.map_or(&[][..], |stripes| &stripes.folders);
    if let Some(&stripe) = moved
        .keys()
        .find(|&&moved| moved as usize >= recorded.len())
    {
        return Err(OpenError::NoStripe {
            pack: pack.into(),
            stripe,
            stripes: recorded.len(),
        });
    }
    let folders = (0..).zip(recorded).map(|(stripe, recorded)| {
        let moved = moved.get(&stripe).cloned();
        moved.unwrap_or_else(|| match recorded.as_str() {
            PACK_FOLDER => pack.into(),
            // An absolute path takes the place of the pack's.
            folder => pack.join(folder),
        })
    });
    let folders: Vec<PathBuf> = folders.collect();
    let tables = manifest.tables.iter().enumerate().map(|(index, table)| {
        let columns = manifest.scheme.columns(index).enumerate();
        let paths = columns.map(|(column, place)| {
            let stripe = manifest.stripe_of(index, column);
            let folder = stripe.map_or(pack, |stripe| &folders[stripe as usize]);
            folder.join(manifest.shard_path(table.layer, &place))
        });
        paths.collect()
    });
    Ok(tables.collect())
}
