//! From prompts to texts, token by token.

use crate::{
    Cache, Error, Memory, Model,
    sampling::{Sampler, Sampling},
};

/// How texts are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Tokens of a prompt that are computed at a time, 1 or more.
    pub chunk: usize,
    /// Tokens made of each sequence, at most.
    pub max_tokens: usize,
    /// Tokens that end a sequence; they are its last.
    pub stop: Vec<u32>,
    /// Only tokens below this are chosen, such as those that a tokenizer knows.
    pub vocabulary: usize,
    /// How.
    pub sampling: Sampling,
}

/// Some sequences that are being continued.
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
    /// Of the next token.
    logits: Vec<f32>,
    made: Vec<u32>,
    /// The last of [`Self::made`], until it is computed.
    pending: Vec<u32>,
    ended: bool,
}

impl<'a> Generator<'a> {
    /// Computes `prompts` in chunks, each announced to `memory` while the one before is computed.
    ///
    /// # Errors
    /// A prompt without tokens, and those of [`Model::forward`].
    ///
    /// # Panics
    /// If `options.chunk` or `options.vocabulary` is zero.
    pub fn new(
        model: &'a Model,
        memory: &mut dyn Memory,
        prompts: &[&[u32]],
        options: Options,
    ) -> Result<Self, Error> {
        assert!(options.vocabulary > 0, "there must be a token to choose");
        if let Some(sequence) = prompts.iter().position(|prompt| prompt.is_empty()) {
            return Err(Error::Prompt { sequence });
        }
        let sequences = (0..prompts.len()).map(|sequence| Continued {
            sampler: Sampler::new(options.sampling, sequence),
            logits: Vec::new(),
            made: Vec::new(),
            pending: Vec::new(),
            ended: options.max_tokens == 0,
        });
        let mut generator = Self {
            model,
            cache: model.cache(prompts.len()),
            sequences: sequences.collect(),
            options,
        };
        generator.prefill(memory, prompts)?;
        Ok(generator)
    }

    fn prefill(&mut self, memory: &mut dyn Memory, prompts: &[&[u32]]) -> Result<(), Error> {
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        let chunk = |start: usize| -> Vec<&[u32]> {
            let end = start.saturating_add(self.options.chunk);
            let part = |prompt: &&'_ [u32]| start.min(prompt.len())..end.min(prompt.len());
            prompts.iter().map(|prompt| &prompt[part(prompt)]).collect()
        };
        let starts = (0..longest).step_by(self.options.chunk);
        let chunks: Vec<Vec<&[u32]>> = starts.map(chunk).collect();
        if let Some(first) = chunks.first() {
            memory.announce(first)?;
        }
        for (index, tokens) in chunks.iter().enumerate() {
            if let Some(next) = chunks.get(index + 1) {
                memory.announce(next)?;
            }
            self.compute(memory, tokens)?;
        }
        Ok(())
    }

    fn compute(&mut self, memory: &mut dyn Memory, tokens: &[&[u32]]) -> Result<(), Error> {
        let logits = self.model.forward_last(tokens, &mut self.cache, memory)?;
        let logits = logits.to_vec2::<f32>()?;
        for ((sequence, tokens), logits) in self.sequences.iter_mut().zip(tokens).zip(logits) {
            if !tokens.is_empty() {
                sequence.logits = logits;
            }
        }
        Ok(())
    }

    /// The next token of each sequence, or none where it has ended. The tokens of the step before are computed
    /// first, so after an error the step can be tried again.
    ///
    /// # Errors
    /// Those of [`Model::forward`].
    pub fn step(&mut self, memory: &mut dyn Memory) -> Result<Vec<Option<u32>>, Error> {
        if self.is_done() {
            return Ok(vec![None; self.sequences.len()]);
        }
        let pending: Vec<Vec<u32>> = self
            .sequences
            .iter()
            .map(|sequence| {
                if sequence.ended {
                    Vec::new()
                } else {
                    sequence.pending.clone()
                }
            })
            .collect();
        if pending.iter().any(|tokens| !tokens.is_empty()) {
            let tokens: Vec<&[u32]> = pending.iter().map(Vec::as_slice).collect();
            self.compute(memory, &tokens)?;
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

    /// The tokens made of each sequence.
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
        let known = self.logits.len().min(options.vocabulary);
        let token = self.sampler.choose(&self.logits[..known]);
        let token = u32::try_from(token).expect("vocabularies are below 2^24");
        self.made.push(token);
        self.pending = vec![token];
        self.ended = options.stop.contains(&token) || self.made.len() >= options.max_tokens;
        Some(token)
    }
}
