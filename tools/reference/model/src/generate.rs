//! Generation: continues prompts token by token.

use std::{num::NonZeroUsize, slice};

use candle_core::Tensor;

use crate::{
    Cache, Error, LayerHook, Model,
    sampling::{Sampler, Sampling},
};

/// How texts are generated.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The most tokens of a prompt to compute at a time.
    pub chunk: NonZeroUsize,
    /// The most tokens to generate for each sequence.
    pub max_tokens: usize,
    /// Tokens that end a sequence. They are kept as its last token.
    pub stop: Vec<u32>,
    /// Only tokens below this are chosen. A model may have logits for more tokens than its tokenizer knows.
    pub vocabulary: NonZeroUsize,
    /// How a token is chosen by the logits.
    pub sampling: Sampling,
}

/// Sequences that are being continued.
#[derive(Debug)]
pub struct Generator<'a> {
    model: &'a Model,
    options: Options,
    cache: Cache,
    sequences: Vec<Continued>,
}

#[derive(Debug)]
struct Continued {
    sampler: Sampler,
    /// Logits for the next token.
    logits: Vec<f32>,
    made: Vec<u32>,
    /// The last of [`Self::made`], until it is computed.
    pending: Option<u32>,
    ended: bool,
}

impl Model {
    /// Computes `prompts` in chunks of `chunk` tokens and returns the logits after the last token of each,
    /// `[sequences, vocab_size]`. Each chunk is announced to `hook` before the previous one is computed.
    ///
    /// # Errors
    /// A prompt without tokens, and those of [`Self::forward`]; `cache` then has the chunks that went well.
    pub fn prefill(
        &self,
        prompts: &[&[u32]],
        chunk: NonZeroUsize,
        cache: &mut Cache,
        hook: &mut dyn LayerHook,
    ) -> Result<Tensor, Error> {
        if let Some(sequence) = prompts.iter().position(|prompt| prompt.is_empty()) {
            return Err(Error::Prompt { sequence });
        }
        // Refuse bad input before anything is announced.
        self.check(prompts, cache)?;
        let chunk = chunk.get();
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        let part = |start: usize| -> Vec<&[u32]> {
            let part = |prompt: &&'_ [u32]| {
                let end = start.saturating_add(chunk).min(prompt.len());
                start.min(end)..end
            };
            prompts.iter().map(|prompt| &prompt[part(prompt)]).collect()
        };
        let mut last: Vec<Option<Tensor>> = vec![None; prompts.len()];
        hook.announce(&part(0))?;
        for start in (0..longest).step_by(chunk) {
            if start + chunk < longest {
                hook.announce(&part(start + chunk))?;
            }
            let tokens = part(start);
            let logits = self.forward_last(&tokens, cache, hook)?;
            for (sequence, tokens) in tokens.iter().enumerate() {
                if !tokens.is_empty() {
                    last[sequence] = Some(logits.get(sequence)?);
                }
            }
        }
        let last: Vec<Tensor> = last.into_iter().flatten().collect();
        Ok(Tensor::stack(&last, 0)?)
    }
}

impl<'a> Generator<'a> {
    /// Computes `prompts`; the first tokens can then be chosen.
    ///
    /// # Errors
    /// Those of [`Model::prefill`], a choice that [`Sampling::check`] refuses, and logits that are not numbers.
    pub fn new(
        model: &'a Model,
        hook: &mut dyn LayerHook,
        prompts: &[&[u32]],
        options: Options,
    ) -> Result<Self, Error> {
        options.sampling.check()?;
        let sequences = (0..prompts.len()).map(|sequence| Continued {
            sampler: Sampler::new(options.sampling, sequence),
            logits: Vec::new(),
            made: Vec::new(),
            pending: None,
            ended: options.max_tokens == 0,
        });
        let mut generator = Self {
            model,
            cache: model.cache(prompts.len()),
            sequences: sequences.collect(),
            options,
        };
        let chunk = generator.options.chunk;
        let logits = model.prefill(prompts, chunk, &mut generator.cache, hook)?;
        generator.take(&vec![true; prompts.len()], &logits)?;
        Ok(generator)
    }

    /// Keeps the logits of the sequences that have been computed.
    fn take(&mut self, computed: &[bool], logits: &Tensor) -> Result<(), Error> {
        let logits = logits.to_vec2::<f32>()?;
        for (index, logits) in logits.into_iter().enumerate() {
            if !computed[index] {
                continue;
            }
            if logits.iter().any(|logit| logit.is_nan()) {
                return Err(Error::NotANumber { sequence: index });
            }
            self.sequences[index].logits = logits;
        }
        Ok(())
    }

    /// Chooses the next token of each sequence, none if it has ended. The tokens of the step before are computed
    /// first, so after a pass that failed the step can be tried again.
    ///
    /// # Errors
    /// Those of [`Model::forward`].
    pub fn step(&mut self, hook: &mut dyn LayerHook) -> Result<Vec<Option<u32>>, Error> {
        if self.is_done() {
            return Ok(vec![None; self.sequences.len()]);
        }
        let running = self
            .sequences
            .iter()
            .map(|sequence| match &sequence.pending {
                Some(token) if !sequence.ended => slice::from_ref(token),
                _ => &[],
            });
        let tokens: Vec<&[u32]> = running.collect();
        if tokens.iter().any(|tokens| !tokens.is_empty()) {
            let logits = self.model.forward_last(&tokens, &mut self.cache, hook)?;
            let computed: Vec<bool> = tokens.iter().map(|tokens| !tokens.is_empty()).collect();
            self.take(&computed, &logits)?;
        }
        let options = &self.options;
        Ok(self
            .sequences
            .iter_mut()
            .map(|s| s.choose(options))
            .collect())
    }

    /// Whether all sequences have ended.
    pub fn is_done(&self) -> bool {
        self.sequences.iter().all(|sequence| sequence.ended)
    }

    /// The tokens generated for each sequence.
    pub fn made(&self) -> impl Iterator<Item = &[u32]> {
        self.sequences
            .iter()
            .map(|sequence| sequence.made.as_slice())
    }
}

impl Continued {
    fn choose(&mut self, options: &Options) -> Option<u32> {
        if self.ended {
            return None;
        }
        let known = self.logits.len().min(options.vocabulary.get());
        let token = self.sampler.choose(&self.logits[..known]);
        let token = u32::try_from(token).expect("vocabularies are below 2^24");
        self.made.push(token);
        self.pending = Some(token);
        self.ended = options.stop.contains(&token) || self.made.len() >= options.max_tokens;
        Some(token)
    }
}
