//! The figures of all storages, by their names.

use std::collections::BTreeMap;

use engram_kit::figure::{Case, Figure};

use super::{Figures, Round, median};

/// The name of a figure, its unit, and where it is found.
type Field = (&'static str, &'static str, fn(&Figures) -> f64);

const FIELDS: [Field; 6] = [
    ("decode_latency_p50", "us", |of| of.decode_p50_us),
    ("decode_latency_p99", "us", |of| of.decode_p99_us),
    ("decode_latency_p99.9", "us", |of| of.decode_p999_us),
    ("longest_ask_of_step", "us", |of| of.ask_step_most_us),
    ("longest_ask_of_prompt", "us", |of| of.ask_prompt_most_us),
    ("prompt_row_rate", "rows/s", |of| of.prompt_rows_per_second),
];

/// Each figure of each storage, without and with prompts.
pub(super) fn figures(rounds: &BTreeMap<&str, Vec<Round>>, caveat: Option<&String>) -> Vec<Figure> {
    let mut all = Vec::new();
    for (name, rounds) in rounds {
        for beside_prompts in [false, true] {
            let case = Case::new()
                .with("storage", *name)
                .with("beside_prompts", beside_prompts);
            for (figure, unit, field) in FIELDS {
                let of = |round: &Round| {
                    field(if beside_prompts {
                        &round.beside_prompts
                    } else {
                        &round.alone
                    })
                };
                let figure = case.figure(figure, unit, median(rounds, of));
                all.push(figure.rounds(rounds.iter().map(of)).caveat(caveat.cloned()));
            }
        }
    }
    all
}
