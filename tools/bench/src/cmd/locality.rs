use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::PathBuf,
};

use crate::{
    plot::{self, Axes, Line},
    report, trace,
};
use anyhow::{Context, Result, anyhow, ensure};
use engram::{Hasher, PresetName, RowId, RowIds, Sequence, read_hasher};
use engram_checkpoint::builtin_token_map;
use serde::Serialize;
use tokenizers::Tokenizer;

/// Tokens of the windows in which different rows are counted.
const WINDOWS: [usize; 4] = [512, 4_096, 16_384, 65_536];
/// MiB of a table's cache.
const BUDGETS: [u64; 7] = [1, 4, 16, 64, 256, 1_024, 4_096];
/// Bytes of a row of DeepSeek-V4.1-Flash in the row cache, with its seal and tag.
const ENTRY_BYTES: u64 = 280;

/// Count how often a text asks for the same rows again
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Addressing of a known model
    #[arg(
        long,
        value_name = "NAME",
        default_value = "deepseek-v4.1-flash",
        conflicts_with = "pack"
    )]
    scheme: PresetName,
    /// Addressing of a pack
    #[arg(long)]
    pack: Option<PathBuf>,
    /// Token ids, little-endian u32; may be given more than once
    #[arg(long, value_name = "FILE")]
    trace: Vec<PathBuf>,
    /// A text, for which --tokenizer is needed; may be given more than once
    #[arg(long, value_name = "FILE", requires = "tokenizer")]
    text: Vec<PathBuf>,
    /// The model's tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Bytes that a row takes in a cache
    #[arg(long, value_name = "BYTES", default_value_t = ENTRY_BYTES)]
    entry_bytes: u64,
    /// Write the figures here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw hit rate over budget here as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// How a text uses the rows of the n-grams of one order.
#[derive(Debug, Serialize)]
struct OfOrder {
    order: u32,
    /// Share of look-ups whose row was asked for before in the text.
    seen_before: f64,
    /// Different rows as a share of look-ups, on average over windows of as many tokens.
    unique_in_window: BTreeMap<usize, f64>,
    /// Hit rate of a cache with that many MiB for the table, which gives up the row not used for
    /// the longest time.
    hit_rate: BTreeMap<u64, f64>,
}

#[derive(Debug, Serialize)]
struct OfText {
    tokens: usize,
    orders: Vec<OfOrder>,
    /// Over all orders.
    hit_rate: BTreeMap<u64, f64>,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let hasher = match &self.pack {
            Some(pack) => read_hasher(pack)?,
            None => Hasher::new(self.scheme.scheme(), builtin_token_map(self.scheme))?,
        };
        let mut texts = BTreeMap::new();
        for (name, tokens) in self.tokens()? {
            texts.insert(name, of_text(&hasher, &tokens, self.entry_bytes)?);
        }
        ensure!(!texts.is_empty(), "no text: name one by --trace or --text");
        print(&texts)?;
        report::json(self.json.as_deref(), &texts)?;
        let lines = texts.iter().flat_map(|(name, text)| {
            text.orders.iter().map(move |order| Line {
                name: format!("{name}, {}-grams", order.order),
                points: curve(&order.hit_rate),
            })
        });
        let axes = Axes {
            title: "Rows that a cache already has",
            x: "MiB for the table of a layer",
            y: "hit rate",
            x_log: true,
            y_log: false,
        };
        plot::lines(self.plot.as_deref(), axes, &lines.collect::<Vec<_>>())
    }

    /// The token ids of all texts, by name.
    fn tokens(&self) -> Result<Vec<(String, Vec<u32>)>> {
        let name = |path: &PathBuf| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            stem.trim_start_matches("trace_").to_owned()
        };
        let mut all = Vec::new();
        for path in &self.trace {
            all.push((name(path), trace::read(path)?));
        }
        if let Some(path) = &self.tokenizer {
            let tokenizer = Tokenizer::from_file(path)
                .map_err(|error| anyhow!("{}: {error}", path.display()))?;
            for path in &self.text {
                let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
                let tokens = tokenizer
                    .encode(text, false)
                    .map_err(|error| anyhow!("{}: {error}", path.display()))?;
                all.push((name(path), tokens.get_ids().to_vec()));
            }
        }
        Ok(all)
    }
}

fn of_text(hasher: &Hasher, tokens: &[u32], entry_bytes: u64) -> Result<OfText> {
    let mut rows = RowIds::new();
    hasher.extend(&mut Sequence::new(), tokens, &mut rows)?;
    let scheme = hasher.scheme();
    let heads = scheme.heads as usize;
    // The heads of an order all follow the n-grams; one stands for them.
    let columns: Vec<usize> = (0..scheme.column_count()).step_by(heads).collect();
    let asked: Vec<Vec<RowId>> = columns
        .iter()
        .map(|&column| {
            (0..tokens.len())
                .map(|at| rows.position(0, at)[column])
                .collect()
        })
        .collect();
    let distances = distances(&asked);
    let capacity = |megabytes: u64| {
        let rows = (megabytes << 20) / entry_bytes / heads as u64;
        usize::try_from(rows).unwrap_or(usize::MAX)
    };
    let hit_rates = |of: &[&Vec<Option<usize>>]| -> BTreeMap<u64, f64> {
        let rate = |megabytes| {
            let fits = capacity(megabytes);
            let looks = of.iter().map(|distances| distances.len()).sum();
            let hits = of.iter().flat_map(|distances| distances.iter());
            share(
                hits.filter(|distance| distance.is_some_and(|d| d < fits))
                    .count(),
                looks,
            )
        };
        BUDGETS
            .iter()
            .map(|&megabytes| (megabytes, rate(megabytes)))
            .collect()
    };
    let orders = asked
        .iter()
        .zip(&distances)
        .zip(2..)
        .map(|((asked, distances), order)| OfOrder {
            order,
            seen_before: share(distances.iter().flatten().count(), distances.len()),
            unique_in_window: WINDOWS
                .iter()
                .filter(|&&window| window <= asked.len())
                .map(|&window| (window, unique(asked, window)))
                .collect(),
            hit_rate: hit_rates(&[distances]),
        });
    Ok(OfText {
        tokens: tokens.len(),
        orders: orders.collect(),
        hit_rate: hit_rates(&distances.iter().collect::<Vec<_>>()),
    })
}

/// For each look-up, how many different rows of all columns were asked for since the last time that this
/// one was: a cache that keeps so many and one more has it (Mattson and others, 1970).
fn distances(asked: &[Vec<RowId>]) -> Vec<Vec<Option<usize>>> {
    let positions = asked.first().map_or(0, Vec::len);
    let mut last: HashMap<RowId, usize> = HashMap::new();
    let mut newest = Counts::new(positions * asked.len());
    let mut found = vec![Vec::with_capacity(positions); asked.len()];
    let mut now = 0;
    for position in 0..positions {
        for (column, found) in asked.iter().zip(&mut found) {
            let before = last.insert(column[position], now);
            found.push(before.map(|before| {
                newest.add(before, false);
                newest.after(before)
            }));
            newest.add(now, true);
            now += 1;
        }
    }
    found
}

/// A Fenwick tree: which look-ups are the last ones of their row.
struct Counts {
    sums: Vec<usize>,
    all: usize,
}

impl Counts {
    fn new(len: usize) -> Self {
        Self {
            sums: vec![0; len + 1],
            all: 0,
        }
    }

    fn add(&mut self, at: usize, is_last: bool) {
        let mut index = at + 1;
        while index < self.sums.len() {
            if is_last {
                self.sums[index] += 1;
            } else {
                self.sums[index] -= 1;
            }
            index += index & index.wrapping_neg();
        }
        self.all = if is_last { self.all + 1 } else { self.all - 1 };
    }

    /// How many are after `at`.
    fn after(&self, at: usize) -> usize {
        let mut index = at + 1;
        let mut upto = 0;
        while index > 0 {
            upto += self.sums[index];
            index &= index - 1;
        }
        self.all - upto
    }
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

    println!();
    let mut rows = Vec::new();
    for (name, text) in texts {
        let all = [("all".to_owned(), &text.hit_rate)];
        let orders = text
            .orders
            .iter()
            .map(|of| (of.order.to_string(), &of.hit_rate));
        for (order, rates) in orders.chain(all) {
            let mut row = vec![name.clone(), order];
            row.extend(rates.values().map(|&rate| percent(rate)));
            rows.push(row);
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
    fn distances_are_those_of_a_stack() {
        let asked = |rows: &[u64]| rows.iter().map(|&row| RowId(row)).collect::<Vec<_>>();
        let columns = [asked(&[1, 2, 1, 1, 3]), asked(&[10, 11, 10, 12, 11])];
        let found = distances(&columns);
        assert_eq!(found[0], [None, None, Some(3), Some(1), None]);
        assert_eq!(found[1], [None, None, Some(3), None, Some(4)]);
    }

    #[test]
    fn different_rows_are_counted_by_window() {
        let rows: Vec<RowId> = [1, 1, 2, 2, 3, 4, 9].map(RowId).to_vec();
        assert_eq!(unique(&rows, 2), 4.0 / 6.0);
        assert_eq!(unique(&rows, 3), 5.0 / 6.0);
    }
}
