//! Which columns a process looks rows up in, where several share the work.

use std::{collections::BTreeMap, ops::Range};

use super::scheme::Scheme;
use crate::{error::ColumnsError, ids::LayerId, profile::Profile};

/// Some columns of each layer, by their index among all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Columns {
    /// All of them.
    #[default]
    All,
    /// These of every layer.
    Range(Range<u32>),
    /// Of each of these layers its own, of other layers none.
    Layers(BTreeMap<LayerId, Range<u32>>),
    /// The part of one of several ranks of a tensor-parallel model: consecutive columns of every layer, rank after
    /// rank, as many for each or one more.
    Rank {
        /// Which of the ranks, from 0 on.
        rank: u32,
        /// How many ranks there are.
        ranks: u32,
    },
}

impl Columns {
    /// The columns of each layer of `scheme`.
    ///
    /// # Errors
    /// Columns, a layer or a rank that there are not.
    pub fn ranges(&self, scheme: &Scheme) -> Result<Vec<Range<u32>>, ColumnsError> {
        let columns = column_count(scheme);
        let of_each = |range: Range<u32>| {
            let layers = scheme.layers.iter();
            let ranges = layers.map(|layer| within(layer.id, &range, columns));
            ranges.collect()
        };
        match self {
            Self::All => of_each(0..columns),
            Self::Range(range) => of_each(range.clone()),
            Self::Layers(chosen) => {
                let mut layers = chosen.keys();
                if let Some(&layer) = layers.find(|layer| scheme.layer_index(**layer).is_none()) {
                    return Err(ColumnsError::UnknownLayer { layer });
                }
                let ranges = scheme
                    .layers
                    .iter()
                    .map(|layer| match chosen.get(&layer.id) {
                        Some(range) => within(layer.id, range, columns),
                        None => Ok(0..0),
                    });
                ranges.collect()
            }
            &Self::Rank { rank, ranks } => {
                if rank >= ranks || ranks > columns {
                    return Err(ColumnsError::Rank {
                        rank,
                        ranks,
                        columns,
                    });
                }
                // At most 1,024 of both.
                of_each(columns * rank / ranks..columns * (rank + 1) / ranks)
            }
        }
    }

    /// Columns for each of `ranks` ranks, so that the one with the most reads has as few as consecutive columns allow
    /// while texts like that of `profile` are read. All of them together cache `cached_rows` rows of each layer, the
    /// most frequent first, which takes reads from columns of short n-grams.
    ///
    /// # Errors
    /// More ranks than columns, or none.
    pub fn balanced(
        scheme: &Scheme,
        profile: &Profile,
        cached_rows: usize,
        ranks: u32,
    ) -> Result<Vec<Self>, ColumnsError> {
        let columns = column_count(scheme);
        if !(1..=columns).contains(&ranks) {
            return Err(ColumnsError::Rank {
                rank: 0,
                ranks,
                columns,
            });
        }
        let heads = scheme.heads as usize;
        let reads = profile.uncached(cached_rows, |_| heads);
        let reads = (0..columns as usize).map(|column| {
            reads
                .get(column / heads)
                .copied()
                .unwrap_or(profile.tokens())
        });
        let reads: Vec<u64> = reads.collect();
        Ok(split(&reads, ranks as usize)
            .into_iter()
            .map(Self::Range)
            .collect())
    }
}

fn column_count(scheme: &Scheme) -> u32 {
    u32::try_from(scheme.column_count()).expect("a scheme has at most 1,024 columns")
}

fn within(layer: LayerId, range: &Range<u32>, columns: u32) -> Result<Range<u32>, ColumnsError> {
    if range.start < range.end && range.end <= columns {
        return Ok(range.clone());
    }
    Err(ColumnsError::Range {
        layer,
        start: range.start,
        end: range.end,
        columns,
    })
}

/// Cuts `weights` into `parts` parts of at least one each, so that the heaviest is as light as can be.
fn split(weights: &[u64], parts: usize) -> Vec<Range<u32>> {
    let sum = weights.iter().sum();
    let (mut least, mut most) = (weights.iter().copied().max().unwrap_or(0), sum);
    while least < most {
        let limit = least + (most - least) / 2;
        if cut(weights, parts, limit).len() <= parts {
            most = limit;
        } else {
            least = limit + 1;
        }
    }
    cut(weights, parts, least)
}

/// Cuts `weights` into parts of up to `limit`, at least `parts` of them.
fn cut(weights: &[u64], parts: usize, limit: u64) -> Vec<Range<u32>> {
    let mut cuts: Vec<Range<u32>> = Vec::new();
    let mut weight = 0;
    for (column, &next) in (0..).zip(weights) {
        let left = weights.len() - column as usize;
        let to_come = parts.saturating_sub(cuts.len());
        match cuts.last_mut() {
            Some(part) if weight + next <= limit && left > to_come => {
                part.end += 1;
                weight += next;
            }
            _ => {
                cuts.push(column..column + 1);
                weight = next;
            }
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::SchemeName;

    fn scheme() -> Scheme {
        SchemeName::DeepSeekV41Flash.scheme()
    }

    #[test]
    fn ranks_have_all_columns_once_and_in_order() {
        for ranks in 1..=24 {
            let ranges = (0..ranks).map(|rank| {
                let ranges = Columns::Rank { rank, ranks }.ranges(&scheme()).unwrap();
                assert!(ranges.iter().all(|range| *range == ranges[0]));
                ranges[0].clone()
            });
            let ranges: Vec<Range<u32>> = ranges.collect();
            assert_eq!((ranges[0].start, ranges.last().unwrap().end), (0, 24));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            let lengths = ranges.iter().map(ExactSizeIterator::len);
            let (least, most) = (lengths.clone().min().unwrap(), lengths.max().unwrap());
            assert!(least > 0 && most - least <= usize::from(24 % ranks > 0));
        }
    }

    #[test]
    fn columns_that_there_are_not_are_refused() {
        let refused = |columns: Columns| columns.ranges(&scheme()).unwrap_err();
        for range in [0..25, 24..25, 3..3, Range { start: 4, end: 3 }] {
            let refused = refused(Columns::Range(range));
            assert!(
                matches!(refused, ColumnsError::Range { columns: 24, .. }),
                "{refused}"
            );
        }
        for (rank, ranks) in [(0, 0), (2, 2), (0, 25), (u32::MAX, u32::MAX)] {
            let refused = refused(Columns::Rank { rank, ranks });
            assert!(
                matches!(refused, ColumnsError::Rank { columns: 24, .. }),
                "{refused}"
            );
        }
        let layers = [(LayerId(7), 0..1)].into();
        let refused = refused(Columns::Layers(layers));
        assert_eq!(refused, ColumnsError::UnknownLayer { layer: LayerId(7) });
    }

    #[test]
    fn layers_may_have_columns_of_their_own_or_none() {
        let scheme = scheme();
        let second = scheme.layers[1].id;
        let ranges = Columns::Layers([(second, 3..9)].into()).ranges(&scheme);
        assert_eq!(ranges.unwrap(), [0..0, 3..9]);
    }

    #[test]
    fn the_heaviest_part_is_as_light_as_can_be() {
        /// The lightest heaviest part of all ways to cut.
        fn best(weights: &[u64], parts: usize) -> u64 {
            if parts == 1 {
                return weights.iter().sum();
            }
            let firsts = 1..=weights.len() + 1 - parts;
            let heaviest = firsts.map(|first| {
                let (part, rest) = weights.split_at(first);
                best(rest, parts - 1).max(part.iter().sum())
            });
            heaviest.min().unwrap()
        }
        for weights in [
            vec![1, 1, 1, 1, 5, 5, 5, 5],
            vec![0, 0, 0, 9, 0, 0],
            vec![0; 5],
            vec![7, 1, 1, 1, 1, 1, 1, 7],
            vec![3],
        ] {
            for parts in 1..=weights.len() {
                let cuts = split(&weights, parts);
                assert_eq!(cuts.len(), parts, "{weights:?}");
                let columns: Vec<u32> = cuts.iter().cloned().flatten().collect();
                assert!((0..weights.len()).eq(columns.iter().map(|column| *column as usize)));
                let weigh = |cut: &Range<u32>| {
                    weights[cut.start as usize..cut.end as usize]
                        .iter()
                        .sum::<u64>()
                };
                let heaviest = cuts.iter().map(weigh).max().unwrap();
                assert_eq!(
                    heaviest,
                    best(&weights, parts),
                    "{weights:?} in {parts}: {cuts:?}"
                );
                assert!(cuts.iter().all(|cut| !cut.is_empty()));
            }
        }
    }
}
