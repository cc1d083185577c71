//! Reading rows into the cache.

use crate::{
    backing::{Backed, Destination, Fetch},
    buffer_pool::BufferPool,
    error::LookupError,
    pools::Pools,
    priority::Priority,
    resolve::RowRef,
    tier::Admit,
};

/// Reads `rows` into the cache of their table, and waits until they are there. Returns how many there were.
///
/// # Errors
/// Rows that could not be read, or a damaged record.
pub(crate) fn fill_cache(
    backed: &Backed,
    rows: impl Iterator<Item = RowRef>,
    admit: Admit,
    pools: &Pools,
) -> Result<u64, LookupError> {
    let mut fetch = pools.fetches.take();
    let mine = Fetch::unshared(&mut fetch);
    mine.plan.rows.extend(rows);
    let count = mine.plan.rows.len();
    let mut result = Ok(());
    if count > 0 {
        mine.admit = admit;
        mine.priority = Priority::Warm;
        backed.plan(mine);
        let parts = backed.receiver.source.parts();
        mine.destination = Destination::Staging(pools.buffers.take(count, parts)?);
        backed.start(&fetch);
        let mine = Fetch::wait(&mut fetch);
        result = mine.result();
        if let Destination::Staging(buffer) = std::mem::take(&mut mine.destination) {
            pools.buffers.recycle(buffer);
        }
    }
    pools.fetches.put_back(fetch);
    result.map(|()| count as u64)
}
