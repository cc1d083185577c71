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
    let (_, mut work) = Fetch::prepare(&mut fetch);
    work.plan.rows.extend(rows);
    let count = work.plan.rows.len();
    let mut result = Ok(());
    if count > 0 {
        work.admit = admit;
        work.priority = Priority::Warm;
        backed.plan(&mut work);
        let parts = backed.receiver.source.parts();
        work.destination = Destination::Staging(pools.buffers.take(count, parts)?);
        fetch.set_work(work);
        backed.start(Fetch::begin(&fetch));
        let ended = Fetch::wait(&mut fetch);
        result = ended.result();
        if let Destination::Staging(buffer) = ended.take_destination() {
            pools.buffers.recycle(buffer);
        }
    }
    pools.fetches.put_back(fetch);
    result.map(|()| count as u64)
}
