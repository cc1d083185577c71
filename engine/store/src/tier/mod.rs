//! Where rows can be had at once.

mod cache;
mod located;
mod reader;
mod resident;

use std::{fmt, sync::Arc};

use crate::{error::LookupError, output::RowsMut, resolve::Wanted};

pub(crate) use cache::{Admit, CacheTier, FULL_CREDIT, RowCache};
pub(crate) use reader::{ReaderTier, TierFile};
pub(crate) use resident::ResidentTier;

/// A place where some rows can be had at once: memory, or files that are read while the caller waits.
///
/// A store asks its tiers in order, fastest or most authoritative first, and its
/// [`Backing`](crate::Backing) for the rows that none of them had. A tier of one's own, given by
/// [`Config::tier`](crate::Config::tier), is asked before all others, for every layer, so it can serve
/// rows in the place of the pack's.
///
/// ```
/// use engram::{LookupError, RowsMut, Tier, Wanted};
///
/// /// Serves zeros for the rows of n-grams of four tokens.
/// #[derive(Debug)]
/// struct NoFourGrams;
///
/// impl Tier for NoFourGrams {
///     fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError> {
///         let columns = wanted.columns();
///         wanted.serve_each(|row| {
///             let is_four_gram = columns[usize::from(row.column)].order == 4;
///             if is_four_gram {
///                 out.row(row).fill(0);
///             }
///             Ok(is_four_gram)
///         })
///     }
/// }
/// ```
pub trait Tier: fmt::Debug + Send + Sync {
    /// Copies the rows that the tier has, in the table's codec, to their places in `out`, and takes them off
    /// the list `wanted`. Called once for each piece of a batch, some hundreds of rows, never for each row.
    ///
    /// Pieces of one large batch are served by several threads at a time, while the caller of the lookup waits for
    /// them; so a tier must not wait for a lock that its store's callers hold.
    ///
    /// # Errors
    /// A row that the tier should have but cannot serve; then the whole batch fails.
    fn serve(&self, wanted: &mut Wanted<'_>, out: &mut RowsMut<'_>) -> Result<(), LookupError>;

    /// The tier as it is now, which serves one batch: a tier whose rows change while a store uses it returns one whose
    /// rows stay as they are, so that all pieces of a batch come from one version. None, the default, from a tier whose
    /// rows never change. Called once for each batch of a store that was given the tier by
    /// [`Config::tier`](crate::Config::tier).
    fn pinned(&self) -> Option<Arc<dyn Tier>> {
        None
    }

    /// The number of the version of its rows, which [`Ticket::version`](crate::Ticket::version) tells; 0, the default,
    /// from a tier that has no versions.
    fn version(&self) -> u64 {
        0
    }
}
