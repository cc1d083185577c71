mod stack;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use engram::{Hasher, RowId, RowIds, SchemeName, Sequence, read_hasher, read_profile};
use engram_checkpoint::builtin_token_map;
use engram_format::WindowRules;
use engram_kit::{
    envelope::Outcome,
    figure::{Case, Figure},
    plot::{self, Axes, Line},
    report, say,
    texts::{Texts, trace_name},
};
use serde_json::json;
use stack::distances;

/// Tokens of the windows in which different rows are counted.
const WINDOWS: [usize; 4] = [512, 4_096, 16_384, 65_536];
/// MiB of a table's cache.
const BUDGETS: [u64; 7] = [1, 4, 16, 64, 256, 1_024, 4_096];
/// Bytes of a row of DeepSeek-V4.1-Flash in the row cache, with its seal and tag.
const ENTRY_BYTES: u64 = 280;

/// Count how often a text asks for the same rows again
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a pack, whose scheme is used
    pack: Option<PathBuf>,
    /// A known model instead of a pack
    #[arg(
        long,
        value_name = "NAME",
        default_value = "deepseek-v4.1-flash",
        conflicts_with = "pack"
    )]
    scheme: SchemeName,
    #[command(flatten)]
    texts: Texts,
    /// Counts of n-grams whose rows are in the cache before a text begins
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Bytes that a row takes in a cache
    #[arg(long, value_name = "BYTES", default_value_t = ENTRY_BYTES)]
    entry_bytes: u64,
    /// Draw hit rate over budget here as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// How a text uses the rows of the n-grams of one order.
#[derive(Debug)]
struct OfOrder {
    order: u32,
    /// Share of look-ups whose row was asked for before in the text.
    seen_before: f64,
    /// Different rows as a share of look-ups, on average over windows of as many tokens.
    unique_in_window: BTreeMap<usize, f64>,
    /// Hit rate of a cache with that many MiB for the table, which gives up the row not used for
    /// the longest time.
    hit_rate: BTreeMap<u64, f64>,
    /// The same, where the rows of a profile are there when the text begins, the most wanted ones used last.
    seeded_hit_rate: Option<BTreeMap<u64, f64>>,
}

#[derive(Debug)]
struct OfText {
    tokens: usize,
    orders: Vec<OfOrder>,
    /// Over all orders.
    hit_rate: BTreeMap<u64, f64>,
    seeded_hit_rate: Option<BTreeMap<u64, f64>>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let hasher = match &self.pack {
            Some(pack) => read_hasher(pack)?,
            None => Hasher::new(self.scheme.scheme(), builtin_token_map(self.scheme))?,
        };
        let seed = self.profile.as_deref();
        let seed = seed.map(|path| wanted(&hasher, path)).transpose()?;
        let mut texts = BTreeMap::new();
        self.texts.each(|path, tokens| {
            let text = of_text(&hasher, tokens, seed.as_deref(), self.entry_bytes)?;
            texts.insert(trace_name(path), text);
            Ok(())
        })?;
        print(&texts)?;
        let lines = texts.iter().flat_map(|(name, text)| {
            text.orders.iter().flat_map(move |order| {
                let name = format!("{name}, {}-grams", order.order);
                let seeded = order.seeded_hit_rate.as_ref();
                let seeded = seeded.map(|rates| (format!("{name}, seeded"), rates));
                let lines = [(name, &order.hit_rate)].into_iter().chain(seeded);
                lines.map(|(name, rates)| Line {
                    name,
                    points: curve(rates),
                })
            })
        });
        let axes = Axes {
            title: "Rows that a cache already has",
            x: "MiB for the table of a layer",
            y: "hit rate",
            x_log: true,
            y_log: false,
        };
        plot::lines(self.plot.as_deref(), axes, &lines.collect::<Vec<_>>())?;
        let figures = texts.iter().flat_map(|(name, text)| text.named(name));
        let report = json!({ "scheme": hasher.scheme().name, "entry_bytes": self.entry_bytes });
        let outcome = Outcome::new(&report)?.figures(figures.collect());
        Ok(match &self.pack {
            Some(pack) => outcome.of_pack(pack),
            None => outcome,
        })
    }
}

impl OfText {
    /// The figures of the text `name`, each by its name.
    fn named(&self, name: &str) -> Vec<Figure> {
        let case = Case::new().with("text", name).with("tokens", self.tokens);
        let rates = |case: &Case, hits: &BTreeMap<u64, f64>, seeded: bool| -> Vec<Figure> {
            let case = case.clone().with("seeded", seeded);
            let of = |(&megabytes, &rate)| {
                case.clone()
                    .with("cache_mib", megabytes)
                    .figure("hit_rate", "1", rate)
            };
            hits.iter().map(of).collect()
        };
        let both = |case: &Case, hits: &BTreeMap<u64, f64>, seeded: &Option<BTreeMap<u64, f64>>| {
            let seeded = seeded.iter().flat_map(|hits| rates(case, hits, true));
            rates(case, hits, false)
                .into_iter()
                .chain(seeded)
                .collect::<Vec<_>>()
        };
        let mut all = both(
            &case.clone().with("order", "all"),
            &self.hit_rate,
            &self.seeded_hit_rate,
        );
        for of in &self.orders {
            let case = case.clone().with("order", of.order);
            all.push(case.figure("seen_before", "1", of.seen_before));
            all.extend(of.unique_in_window.iter().map(|(&window, &share)| {
                case.clone()
                    .with("window_tokens", window)
                    .figure("unique_rows", "1", share)
            }));
            all.extend(both(&case, &of.hit_rate, &of.seeded_hit_rate));
        }
        all
    }
}

/// The columns of the first layer of which one stands for the heads of its order: all follow the n-grams.
fn columns(hasher: &Hasher) -> impl Iterator<Item = usize> {
    let scheme = hasher.scheme();
    (0..scheme.column_count()).step_by(scheme.heads as usize)
}

/// The rows that the n-grams of the profile at `path` ask for, the most wanted ones last.
fn wanted(hasher: &Hasher, path: &Path) -> Result<Vec<RowId>> {
    let profile = read_profile(path)?;
    let context = || path.display().to_string();
    let rules = WindowRules::of(hasher);
    profile.rules().check(&rules).with_context(context)?;
    let mut counts: HashMap<RowId, u64> = HashMap::new();
    for (column, order) in columns(hasher).zip(profile.orders()) {
        for (ngram, count) in order.iter() {
            *counts
                .entry(hasher.ngram_row(0, column, ngram))
                .or_default() += count;
        }
    }
    let mut rows: Vec<(u64, RowId)> = counts
        .into_iter()
        .map(|(row, count)| (count, row))
        .collect();
    rows.sort_unstable();
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn of_text(
    hasher: &Hasher,
    tokens: &[u32],
    seed: Option<&[RowId]>,
    entry_bytes: u64,
) -> Result<OfText> {
    let mut rows = RowIds::new();
    hasher.extend(&mut Sequence::new(), tokens, &mut rows)?;
    let asked: Vec<Vec<RowId>> = columns(hasher)
        .map(|column| {
            (0..tokens.len())
                .map(|at| rows.position(0, at)[column])
                .collect()
        })
        .collect();
    let heads = u64::from(hasher.scheme().heads);
    let hit_rates = |distances: &[Vec<Option<usize>>]| -> BTreeMap<u64, f64> {
        let rate = |megabytes: u64| {
            let fits = (megabytes << 20) / entry_bytes / heads;
            let fits = usize::try_from(fits).unwrap_or(usize::MAX);
            let lookups = distances.iter().map(Vec::len).sum();
            let hits = distances.iter().flatten().flatten();
            share(hits.filter(|&&distance| distance < fits).count(), lookups)
        };
        BUDGETS
            .iter()
            .map(|&megabytes| (megabytes, rate(megabytes)))
            .collect()
    };
    let unseeded = distances(&[], &asked);
    let seeded = seed.map(|seed| distances(seed, &asked));
    let orders = asked.iter().zip(&unseeded).enumerate();
    let orders = orders.map(|(place, (asked, distances))| OfOrder {
        order: u32::try_from(place).expect("an order") + hasher.scheme().first_order(),
        seen_before: share(distances.iter().flatten().count(), distances.len()),
        unique_in_window: WINDOWS
            .iter()
            .filter(|&&window| window <= asked.len())
            .map(|&window| (window, unique(asked, window)))
            .collect(),
        hit_rate: hit_rates(std::slice::from_ref(distances)),
        seeded_hit_rate: seeded
            .as_ref()
            .map(|seeded| hit_rates(std::slice::from_ref(&seeded[place]))),
    });
    Ok(OfText {
        tokens: tokens.len(),
        orders: orders.collect(),
        hit_rate: hit_rates(&unseeded),
        seeded_hit_rate: seeded.as_deref().map(hit_rates),
    })
}

/// Different rows in windows of `window` look-ups, as a share.
fn unique(asked: &[RowId], window: usize) -> f64 {
    let windows = asked.chunks_exact(window);
    let count = windows.len() * window;
    let different: usize = windows
        .map(|window| window.iter().collect::<HashSet<_>>().len())
        .sum();
    share(different, count)
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(some: usize, all: usize) -> f64 {
    some as f64 / all.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn curve(rates: &BTreeMap<u64, f64>) -> Vec<(f64, f64)> {
    rates
        .iter()
        .map(|(&megabytes, &rate)| (megabytes as f64, rate))
        .collect()
}

fn print(texts: &BTreeMap<String, OfText>) -> Result<()> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut rows = Vec::new();
    for (name, text) in texts {
        for of in &text.orders {
            let mut row = vec![name.clone(), of.order.to_string(), percent(of.seen_before)];
            let windows = WINDOWS.iter().map(|window| of.unique_in_window.get(window));
            row.extend(windows.map(|unique| unique.copied().map_or("-".into(), percent)));
            rows.push(row);
        }
    }
    let windows = WINDOWS.map(|window| format!("unique in {window}"));
    let mut head = vec!["text", "order", "seen before"];
    head.extend(windows.iter().map(String::as_str));
    report::table(&head, &rows)?;

    say!();
    let mut rows = Vec::new();
    for (name, text) in texts {
        let orders = text.orders.iter();
        let orders = orders.map(|of| (of.order.to_string(), &of.hit_rate, &of.seeded_hit_rate));
        let all = [("all".to_owned(), &text.hit_rate, &text.seeded_hit_rate)];
        for (order, unseeded, seeded) in orders.chain(all) {
            let seeded = seeded
                .iter()
                .map(|rates| (format!("{order}, seeded"), rates));
            for (order, rates) in [(order.clone(), unseeded)].into_iter().chain(seeded) {
                let mut row = vec![name.clone(), order];
                row.extend(rates.values().map(|&rate| percent(rate)));
                rows.push(row);
            }
        }
    }
    let budgets = BUDGETS.map(|megabytes| format!("{megabytes} MiB"));
    let mut head = vec!["hit rate", "order"];
    head.extend(budgets.iter().map(String::as_str));
    report::table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_rows_are_counted_by_window() {
        let rows: Vec<RowId> = [1, 1, 2, 2, 3, 4, 9].map(RowId).to_vec();
        assert_eq!(unique(&rows, 2), 4.0 / 6.0);
        assert_eq!(unique(&rows, 3), 5.0 / 6.0);
    }
}
