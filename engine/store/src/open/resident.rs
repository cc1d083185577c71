//! Which columns are loaded.

use std::cmp::Reverse;

use engram_format::{MAX_ORDER, Manifest, Profile};

use super::shard::Shard;
use crate::{config::Resident, tier::RowCache};

/// Marks those of `shards`, the open columns of all tables in order, that are to be loaded. Each table has a cache of
/// `cache_bytes` bytes.
pub(super) fn choose(
    shards: &mut [Shard<'_>],
    manifest: &Manifest,
    resident: Resident,
    cache_bytes: usize,
    profile: Option<&Profile>,
) {
    match resident {
        Resident::None => {}
        Resident::Orders(most) => {
            for shard in shards.iter_mut().filter(|shard| shard.column.order <= most) {
                shard.resident = true;
            }
        }
        Resident::Bytes(mut left) => {
            let saved = profile.map(|profile| Saved::new(profile, manifest, shards, cache_bytes));
            let mut by_worth: Vec<_> = shards
                .iter()
                .enumerate()
                .map(|(index, shard)| {
                    let saved = saved.as_ref();
                    let worth = saved.map(|saved| saved.per_byte(shard));
                    (Reverse(worth), shard.column.order, index)
                })
                .collect();
            by_worth.sort_unstable();
            for (_, _, index) in by_worth {
                let shard = &mut shards[index];
                match left.checked_sub(shard.bytes()) {
                    Some(rest) => (shard.resident, left) = (true, rest),
                    None => break,
                }
            }
        }
    }
}

/// Lookups that a column in memory saves the drive while the profile's tokens are read: all but those that a
/// cache seeded by the profile serves.
struct Saved {
    /// By table, and by order from the first that has columns.
    saved: Vec<Vec<u64>>,
    first_order: u32,
}

impl Saved {
    /// `cache_bytes` are those of each table's cache.
    fn new(
        profile: &Profile,
        manifest: &Manifest,
        shards: &[Shard<'_>],
        cache_bytes: usize,
    ) -> Self {
        let tables = manifest.tables.iter().enumerate();
        let saved = tables.map(|(index, table)| {
            let rows = RowCache::capacity_of(table.codec.row_bytes(), cache_bytes);
            let mut columns_of = [0; MAX_ORDER + 1];
            let columns = shards.iter().filter(|shard| shard.table_index == index);
            columns.for_each(|shard| columns_of[shard.column.order as usize] += 1);
            profile.uncached(rows, |order| columns_of[order])
        });
        Self {
            saved: saved.collect(),
            first_order: manifest.scheme.first_order(),
        }
    }

    /// In whole numbers, so that the same profile gives the same choice everywhere.
    fn per_byte(&self, shard: &Shard<'_>) -> u128 {
        let order = shard.column.order - self.first_order;
        let saved = self.saved[shard.table_index][order as usize];
        (u128::from(saved) << 64) / u128::from(shard.bytes())
    }
}
