//! What a server asks for, and when: sequences that decode, prompts that arrive.

use std::{sync::Arc, time::Duration};

use engram::{Manifest, OwnedBatch, RowId};
use engram_format::Column;
use engram_kit::random::Random;

use super::Args;
use crate::row_choice::random_rows;

/// Who asks in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    Steps,
    Prompts,
    Both,
}

impl Traffic {
    pub(super) const ALL: [Self; 3] = [Self::Steps, Self::Prompts, Self::Both];

    /// Its name in reports.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Prompts => "prompts",
            Self::Both => "both",
        }
    }
}

/// Something that happens at a time.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) what: What,
}

/// What a server does at an [`Event`]. Batches are of each layer.
#[derive(Debug)]
pub(super) enum What {
    /// The next token of one sequence.
    Decode(Vec<OwnedBatch>),
    /// A prompt of so many tokens, with a number of its own.
    Prompt(usize, Vec<OwnedBatch>),
    /// The user of a prompt has gone.
    Cancel(usize),
}

/// Events of a run, in the order of their times, which do not depend on how fast anything is answered, nor on what else
/// is asked for.
pub(super) fn events(
    args: &Args,
    manifest: &Manifest,
    traffic: Traffic,
    times: &mut Random,
    rows: &mut Random,
) -> Vec<Event> {
    let columns: Vec<Vec<Column>> = (0..manifest.tables.len())
        .map(|index| manifest.scheme.columns(index).collect())
        .collect();
    let mut batches = |tokens: usize| {
        let tables = manifest.tables.iter().zip(&columns);
        let batch = |(table, columns): (&engram_format::Table, &Vec<Column>)| {
            let rows: Arc<[RowId]> = random_rows(columns, tokens * columns.len(), rows).into();
            OwnedBatch::new(table.layer, rows)
        };
        tables.map(batch).collect::<Vec<_>>()
    };
    let end = Duration::from_secs_f64(args.seconds);
    let mut events = Vec::new();
    let interval = Duration::from_secs_f64(1.0 / args.tokens_per_second);
    for _ in 0..args.sequences {
        let mut at = interval.mul_f64(unit(times));
        while at < end && traffic != Traffic::Prompts {
            let what = What::Decode(batches(1));
            events.push(Event { at, what });
            at += interval;
        }
    }
    let mut at = Duration::ZERO;
    for number in 0.. {
        // The first one comes soon, so that a short run has one; the others as a Poisson process.
        let mean = 1.0 / args.prompts_per_second;
        at += if number == 0 {
            end.mul_f64(0.1)
        } else {
            Duration::from_secs_f64(-mean * (1.0 - unit(times)).ln())
        };
        if at >= end || traffic == Traffic::Steps {
            break;
        }
        let tokens = args.prompt[number % args.prompt.len()];
        let what = What::Prompt(number, batches(tokens));
        events.push(Event { at, what });
        if unit(times) < args.cancelled {
            let at = at + Duration::from_secs_f64(unit(times));
            let what = What::Cancel(number);
            events.push(Event { at, what });
        }
    }
    events.sort_by_key(|event| event.at);
    events
}

/// A number from 0 to below 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn unit(random: &mut Random) -> f64 {
    random.below(1 << 53) as f64 / (1_u64 << 53) as f64
}
