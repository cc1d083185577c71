//! The figures of all storages, by their names.

use std::collections::BTreeMap;

use engram_kit::figure::{Case, Figure};

use super::{Figures, Round, Traffic, median};

/// The name of a figure, its unit, and where it is found.
type Field = (&'static str, &'static str, fn(&Figures) -> f64);

/// Of traffic with steps.
const OF_STEPS: [Field; 4] = [
    ("decode_latency_p50", "us", |of| of.decode_p50_us),
    ("decode_latency_p99", "us", |of| of.decode_p99_us),
    ("decode_latency_p99.9", "us", |of| of.decode_p999_us),
    ("longest_ask_of_step", "us", |of| of.ask_step_most_us),
];
/// Of traffic with prompts.
const OF_PROMPTS: [Field; 2] = [
    ("longest_ask_of_prompt", "us", |of| of.ask_prompt_most_us),
    ("prompt_row_rate", "rows/s", |of| of.prompt_rows_per_second),
];

/// Of traffic with both.
const OF_BOTH: [Field; 1] = [("step_row_rate", "rows/s", |of| of.step_rows_per_second)];

/// Each figure of each storage under each traffic.
pub(super) fn figures(rounds: &BTreeMap<&str, Vec<Round>>, caveat: Option<&String>) -> Vec<Figure> {
    let mut all = Vec::new();
    for (name, rounds) in rounds {
        for traffic in Traffic::ALL {
            let case = Case::new()
                .with("storage", *name)
                .with("traffic", traffic.as_str());
            let fields: &[&[Field]] = match traffic {
                Traffic::Steps => &[&OF_STEPS],
                Traffic::Prompts => &[&OF_PROMPTS],
                Traffic::Both => &[&OF_STEPS, &OF_PROMPTS, &OF_BOTH],
            };
            for (figure, unit, field) in fields.iter().copied().flatten() {
                let of = |round: &Round| field(round.of(traffic));
                let figure = case.figure(figure, unit, median(rounds, of));
                all.push(figure.rounds(rounds.iter().map(of)).caveat(caveat.cloned()));
            }
        }
    }
    all
}
