use std::{
    io::{self, IsTerminal},
    num::NonZeroUsize,
    time::Instant,
};

use anyhow::{Context, Result, anyhow};
use engram_kit::{envelope::Outcome, report, say};
use engram_model::{Generator, LayerTimes, Options, Sampling};
use serde::Serialize;

use crate::{
    layers::{self, LayerReport},
    open::{ModelArgs, encode},
    tiers::{self, TierReport},
};

/// Continue prompts, and show what each layer waited for
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text to continue; may be given more than once, for a batch
    #[arg(long, value_name = "TEXT", required = true)]
    prompt: Vec<String>,
    /// Tokens to make for each prompt, at most
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    max_tokens: usize,
    /// Tokens of a prompt to compute at a time
    #[arg(long, value_name = "COUNT", default_value = "512")]
    chunk: NonZeroUsize,
    /// What logits are divided by before a token is drawn; 0 takes the likeliest
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Draw from so many of the likeliest tokens; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    top_k: usize,
    /// Draw from the likeliest tokens that have this probability together
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    top_p: f64,
    /// Draw the same again
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    backend: String,
    prompts: Vec<Continuation>,
    prefill: Phase,
    decode: Phase,
}

#[derive(Debug, Serialize)]
struct Continuation {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
    text: String,
}

#[derive(Debug, Serialize)]
struct Phase {
    tokens: usize,
    seconds: f64,
    hash_ms: f64,
    layers: Vec<LayerReport>,
    tiers: Vec<TierReport>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Outcome> {
        let tokenizer = self.model.tokenizer()?;
        let encoded = self.prompt.iter().map(|text| encode(&tokenizer, text));
        let encoded = encoded.collect::<Result<Vec<_>>>()?;
        let ids = tokenizer.get_vocab(true).into_values().max();
        let known = ids.and_then(|id| NonZeroUsize::new(id as usize + 1));
        let sampling = self.sampling();
        sampling.check()?;
        // The pack is checked quickly, so it comes first; weights take a while.
        let engram = self.model.blocks_with(self.model.config()?)?;
        let model = self.model.load_model()?;
        let options = Options {
            chunk: self.chunk,
            max_tokens: self.max_tokens,
            stop: model.config().eos_tokens().to_vec(),
            vocabulary: known.context("the tokenizer has no tokens")?,
            sampling,
        };

        let prompts: Vec<&[u32]> = encoded.iter().map(Vec::as_slice).collect();
        let session = engram.session(prompts.len());
        let mut memory = LayerTimes::new(session, model.config().layers());
        let start = Instant::now();
        let mut generator = Generator::new(&model, &mut memory, &prompts, options)?;
        let seconds = start.elapsed().as_secs_f64();
        let tokens = prompts.iter().map(|prompt| prompt.len()).sum();
        let before = engram.store().metrics();
        let prefill = Phase::take(&mut memory, tokens, seconds, tiers::report(&before, None));
        let start = Instant::now();
        while !generator.is_done() {
            generator.step(&mut memory)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        // The last token of each text is not computed.
        let computed = generator.made().map(|made| made.len().saturating_sub(1));
        let after = engram.store().metrics();
        let tiers = tiers::report(&after, Some(&before));
        let decode = Phase::take(&mut memory, computed.sum(), seconds, tiers);

        let made = encoded
            .iter()
            .zip(generator.made())
            .map(|(prompt, tokens)| {
                let text = tokenizer.decode(tokens, true);
                Ok(Continuation {
                    prompt: prompt.clone(),
                    tokens: tokens.to_vec(),
                    text: text.map_err(|e| anyhow!("cannot decode {tokens:?}: {e}"))?,
                })
            });
        let report = Report {
            backend: engram.store().backend().to_string(),
            prompts: made.collect::<Result<_>>()?,
            prefill,
            decode,
        };
        let (bold, plain) = if io::stdout().is_terminal() {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        for (text, made) in self.prompt.iter().zip(&report.prompts) {
            say!("{text}{bold}{}{plain}", made.text);
            say!("tokens: {:?}\n", made.tokens);
        }
        say!("rows by {}\n", report.backend);
        report.prefill.print("prefill")?;
        report.decode.print("decode")?;
        Ok(Outcome::new(&report)?.of_pack(&self.model.pack))
    }

    fn sampling(&self) -> Sampling {
        if self.temperature == 0.0 {
            return Sampling::Greedy;
        }
        Sampling::Random {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
        }
    }
}

impl Phase {
    /// What `memory` has measured, and resets it.
    fn take(
        memory: &mut LayerTimes<engram_model::Session<'_>>,
        tokens: usize,
        seconds: f64,
        tiers: Vec<TierReport>,
    ) -> Self {
        let hash_ms = 1e3 * memory.hook().hashed().as_secs_f64();
        let layers = layers::join(memory.layers(), memory.hook().times());
        memory.reset();
        memory.hook_mut().reset_times();
        Self {
            tokens,
            seconds,
            hash_ms,
            layers,
            tiers,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "few tokens")]
    fn print(&self, name: &str) -> Result<()> {
        if self.tokens == 0 {
            return Ok(());
        }
        let rate = report::figure(self.tokens as f64 / self.seconds);
        let (took, hashing) = (
            report::figure(1e3 * self.seconds),
            report::figure(self.hash_ms),
        );
        say!(
            "{name}: {} tokens in {took} ms, {rate} a second; {hashing} ms of it hashing",
            self.tokens
        );
        layers::print(&self.layers)?;
        tiers::print(&self.tiers)?;
        say!();
        Ok(())
    }
}
