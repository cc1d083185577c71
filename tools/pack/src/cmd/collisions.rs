use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ArgGroup;
use engram::{Hasher, Profile, SchemeName, Sequence, read_hasher, read_profile};
use engram_checkpoint::builtin_token_map;
use engram_format::{MAX_PROFILE_NGRAMS, ProfileCounter, WindowRules};
use engram_kit::{
    envelope::Outcome,
    report::{self, figure},
    say,
    texts::{encode, read_tokenizer, read_trace},
};

use crate::{CollisionReport, collisions};

/// Count the n-grams of a text that share rows with others, by column
#[derive(clap::Args)]
#[command(
    group(ArgGroup::new("source").args(["text", "trace", "profile"]).required(true)),
    after_help = "\
N-grams that share the rows of all heads are alike to the model: only an exact entry in an overlay tells them apart.
Expected are the numbers of n-grams that fall on rows at random.

Examples:
  engram-pack collisions pack --text book.txt --tokenizer tokenizer.json
  engram-pack collisions pack --profile english.profile --most 100 --json | jq .report.suggested"
)]
pub(crate) struct Args {
    /// Folder of a pack, whose scheme is used
    #[arg(required_unless_present = "scheme", conflicts_with = "scheme")]
    pack: Option<PathBuf>,
    /// A known model instead of a pack, at full size
    #[arg(long, value_name = "NAME")]
    scheme: Option<SchemeName>,
    /// A text, for which --tokenizer is needed
    #[arg(long, value_name = "FILE", requires = "tokenizer")]
    text: Option<PathBuf>,
    /// Token ids instead, little-endian u32
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// A profile instead, whose n-grams are those of the text as far as it kept them
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// The model's tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// How many rows and n-grams are named
    #[arg(long, value_name = "N", default_value_t = 10)]
    most: usize,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let hasher = match (&self.pack, self.scheme) {
            (Some(pack), _) => read_hasher(pack)?,
            (None, Some(name)) => Hasher::new(name.scheme(), builtin_token_map(name))?,
            (None, None) => unreachable!("clap asks for one of them"),
        };
        let profile = self.counts(&hasher)?;
        for counts in profile.orders() {
            if counts.distinct() > counts.kept() as u64 {
                say!(
                    "of {} different {}-grams, the {} most frequent are counted",
                    counts.distinct(),
                    counts.order(),
                    counts.kept()
                );
            }
        }
        let found = collisions(&hasher, &profile, self.most);
        print(&found)?;
        let outcome = Outcome::new(&found)?;
        Ok(match &self.pack {
            Some(pack) => outcome.of_pack(pack),
            None => outcome,
        })
    }

    fn counts(&self, hasher: &Hasher) -> Result<Profile> {
        if let Some(path) = &self.profile {
            let profile = read_profile(path)?;
            let checked = profile.rules().check(&WindowRules::of(hasher));
            checked.with_context(|| path.display().to_string())?;
            return Ok(profile);
        }
        let tokens = match (&self.trace, &self.text, &self.tokenizer) {
            (Some(trace), ..) => read_trace(trace)?,
            (None, Some(text), Some(tokenizer)) => {
                let read = std::fs::read_to_string(text);
                let read = read.with_context(|| text.display().to_string())?;
                encode(&read_tokenizer(tokenizer)?, &read, false)?
            }
            _ => unreachable!("clap asks for one of them"),
        };
        ensure!(!tokens.is_empty(), "the text has no tokens");
        let mut counter = ProfileCounter::new(hasher);
        counter.count(&mut Sequence::new(), &tokens)?;
        counter
            .finish(MAX_PROFILE_NGRAMS)
            .context("the text has no tokens")
    }
}

fn print(found: &CollisionReport) -> Result<()> {
    let head = [
        "layer",
        "order",
        "head",
        "n-grams",
        "rows",
        "share a row",
        "expected",
        "of tokens",
        "alike in all",
        "expected",
    ];
    let mut cells = Vec::new();
    for order in &found.orders {
        for column in &order.heads {
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            let of_tokens = column.sharing_tokens as f64 / found.tokens as f64;
            let is_first = column.head == 0;
            let of_order = |text: String| if is_first { text } else { String::new() };
            cells.push(vec![
                order.layer.to_string(),
                order.order.to_string(),
                column.head.to_string(),
                order.ngrams.to_string(),
                column.rows.to_string(),
                column.sharing.to_string(),
                figure(column.sharing_expected),
                format!("{:.1} %", 100.0 * of_tokens),
                of_order(order.alike.to_string()),
                of_order(format!("{:.3e}", order.alike_expected)),
            ]);
        }
    }
    report::table(&head, &cells)?;
    if !found.shared_rows.is_empty() {
        say!("\nrows that most n-grams share:");
    }
    for row in &found.shared_rows {
        let ngrams = row.most_frequent.iter().map(|ngram| format!("{ngram:?}"));
        say!(
            "layer {} order {} head {} row {}: {} n-grams, {} tokens, among them {}",
            row.layer,
            row.order,
            row.head,
            row.row,
            row.ngrams,
            row.tokens,
            ngrams.collect::<Vec<_>>().join(" ")
        );
    }
    if !found.suggested.is_empty() {
        say!("\nn-grams that would gain most from an exact entry (`edit set --ngram`):");
    }
    for suggested in &found.suggested {
        let ids: Vec<String> = suggested.ngram.iter().map(u32::to_string).collect();
        say!(
            "{}: {} tokens, {:.0} % of the reads of its rows are of others",
            ids.join(","),
            suggested.tokens,
            100.0 * suggested.foreign
        );
    }
    Ok(())
}
