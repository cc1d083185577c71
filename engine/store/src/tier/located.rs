//! The loop of tiers that know where a row lies before they touch it.

use crate::{
    error::LookupError,
    pipeline::{Window, stages},
    resolve::RowRef,
};

/// Takes `rows` through two stages: `locate` says where a row lies, none if the tier does not have it, and
/// `prefetch` is told so a block before `copy` copies it. Leaves the rows that the tier does not have.
///
/// # Errors
/// The first error of `copy`.
#[inline]
pub(super) fn serve_located<L: Copy>(
    rows: &mut Vec<RowRef>,
    locate: impl Fn(&RowRef) -> Option<L>,
    prefetch: impl Fn(L),
    mut copy: impl FnMut(&RowRef, L) -> Result<(), LookupError>,
) -> Result<(), LookupError> {
    let mut located = Window::new(None);
    let mut left = 0;
    for [next, now] in stages(rows.len()) {
        for place in next.clone() {
            located[place] = locate(&rows[place]);
        }
        for found in next.filter_map(|place| located[place]) {
            prefetch(found);
        }
        for place in now {
            let row = rows[place];
            if let Some(found) = located[place] {
                copy(&row, found)?;
            } else {
                rows[left] = row;
                left += 1;
            }
        }
    }
    rows.truncate(left);
    Ok(())
}
