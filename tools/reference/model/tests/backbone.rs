//! The logits of small checkpoints are those of transformers, however the tokens are split.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor, safetensors};
use engram_model::{Cache, Error, LayerHook, Model};

/// Of `golden/make.py`, and one with hyper-connections of `golden/engram_models.py`.
const CHECKPOINTS: [&str; 5] = ["v3_grouped", "v3_yarn", "v2_greedy", "v2_limited", "hyper"];

/// Against transformers; the logits have a deviation of about one.
const LIMIT: f32 = 1e-4;

struct Golden {
    /// Of two sequences of one length.
    ids: Vec<Vec<u32>>,
    /// `[tokens, vocabulary]` for each.
    logits: Vec<Tensor>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = folder(name).join("golden.safetensors");
        let tensors = safetensors::load(path, &Device::Cpu).unwrap();
        let ids = tensors["input_ids"].to_dtype(DType::U32).unwrap();
        let logits = &tensors["logits"];
        Self {
            ids: ids.narrow(0, 0, 2).unwrap().to_vec2().unwrap(),
            logits: (0..2)
                .map(|sequence| logits.get(sequence).unwrap())
                .collect(),
        }
    }

    /// The tokens in `range` of every sequence.
    fn part(&self, range: Range<usize>) -> Vec<&[u32]> {
        self.ids.iter().map(|ids| &ids[range.clone()]).collect()
    }

    /// Checks logits from the token at `start` on, of the sequence at index `sequence`.
    fn check(&self, sequence: usize, start: usize, logits: &Tensor) -> f32 {
        let count = logits.dim(0).unwrap();
        let golden = self.logits[sequence].narrow(0, start, count).unwrap();
        apart(logits, &golden)
    }

    fn check_all(&self, start: usize, logits: &[Tensor]) -> f32 {
        assert_eq!(logits.len(), self.ids.len());
        let apart = logits
            .iter()
            .enumerate()
            .map(|(sequence, logits)| self.check(sequence, start, logits));
        apart.fold(0.0, worse)
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn load(name: &str) -> Model {
    Model::load(folder(name), &Device::Cpu).unwrap()
}

/// The greater; not a number, if one of them is.
fn worse(most: f32, one: f32) -> f32 {
    if one <= most { most } else { one }
}

/// The largest difference.
fn apart(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let apart = (a - b).unwrap().abs().unwrap();
    let apart = apart.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    apart.into_iter().fold(0.0, worse)
}

fn forward(model: &Model, tokens: &[&[u32]], cache: &mut Cache) -> Vec<Tensor> {
    model.forward(tokens, cache, &mut ()).unwrap()
}

/// Runs pieces of these lengths and returns how far the logits are from the golden ones.
fn in_pieces(model: &Model, golden: &Golden, lens: &[usize]) -> f32 {
    let mut cache = model.cache(golden.ids.len());
    let mut most = 0.0;
    let mut start = 0;
    for &len in lens {
        let logits = forward(model, &golden.part(start..start + len), &mut cache);
        most = worse(most, golden.check_all(start, &logits));
        start += len;
    }
    assert!(cache.lens().iter().all(|&len| len == start));
    most
}

/// Checks pieces of these lengths with every checkpoint.
fn check(lens: &[usize]) {
    for name in CHECKPOINTS {
        let apart = in_pieces(&load(name), &Golden::read(name), lens);
        println!("{name} in pieces of {lens:?}: {apart:.1e} apart");
        assert!(apart < LIMIT, "{name}: {apart} apart");
    }
}

#[test]
fn whole_prefill() {
    check(&[23]);
}

#[test]
fn prefill_in_unequal_pieces() {
    check(&[5, 1, 11, 6]);
}

#[test]
fn token_by_token() {
    check(&[1; 23]);
}

#[test]
fn golden_values_are_of_this_model_alone() {
    for name in CHECKPOINTS {
        for other in CHECKPOINTS.into_iter().filter(|&other| other != name) {
            assert!(in_pieces(&load(name), &Golden::read(other), &[23]) > 0.1);
        }
    }
}

#[test]
fn sequences_of_different_lengths_do_not_disturb_one_another() {
    for name in CHECKPOINTS {
        let (model, golden) = (load(name), Golden::read(name));
        let mut cache = model.cache(2);
        // Of each sequence so many tokens a pass.
        for counts in [[7, 2], [0, 5], [3, 0], [1, 1], [2, 6], [10, 9]] {
            let start = cache.lens();
            let tokens: Vec<&[u32]> = (0..2)
                .map(|s| &golden.ids[s][start[s]..start[s] + counts[s]])
                .collect();
            let logits = forward(&model, &tokens, &mut cache);
            for (s, logits) in logits.iter().enumerate() {
                assert_eq!(logits.dim(0).unwrap(), counts[s]);
                let apart = if counts[s] > 0 {
                    golden.check(s, start[s], logits)
                } else {
                    0.0
                };
                assert!(apart < LIMIT, "{name}: {apart} apart after {start:?}");
            }
        }
        assert_eq!(cache.lens(), [23, 23]);
    }
}

#[test]
fn the_last_logits_are_those_of_the_last_tokens() {
    let (model, golden) = (load("v3_grouped"), Golden::read("v3_grouped"));
    let tokens = [&golden.ids[0][..9], &golden.ids[1][..4]];
    let last = model
        .forward_last(&tokens, &mut model.cache(2), &mut ())
        .unwrap();
    for (s, end) in [(0, 9), (1, 4)] {
        let logits = last.narrow(0, s, 1).unwrap();
        assert!(golden.check(s, end - 1, &logits) < LIMIT);
    }
}

#[test]
fn a_truncated_cache_goes_on_as_if_nothing_had_followed() {
    for name in CHECKPOINTS {
        let (model, golden) = (load(name), Golden::read(name));
        let mut cache = model.cache(2);
        forward(&model, &golden.part(0..9), &mut cache);
        // Guesses of which the first sequence keeps none, the second two.
        let guesses = [&golden.ids[0][15..19], &golden.ids[1][9..13]];
        forward(&model, &guesses, &mut cache);
        cache.truncate(0, 100);
        assert_eq!(cache.lens(), [13, 13]);
        cache.truncate(0, 9);
        cache.truncate(1, 11);
        assert_eq!(cache.lens(), [9, 11]);
        let rest = [&golden.ids[0][9..], &golden.ids[1][11..]];
        let logits = forward(&model, &rest, &mut cache);
        for (s, start) in [(0, 9), (1, 11)] {
            assert!(golden.check(s, start, &logits[s]) < LIMIT, "{name}");
        }
        cache.truncate(0, 0);
        cache.truncate(1, 0);
        assert!(cache.is_empty());
        let logits = forward(&model, &golden.part(0..23), &mut cache);
        assert!(golden.check_all(0, &logits) < LIMIT, "{name}");
    }
}

/// Adds `amount` to the stream ahead of layer 1, and fails ahead of layer `fails_at`.
struct Adder {
    amount: f64,
    fails_at: Option<usize>,
    seen: Vec<String>,
}

impl Adder {
    fn new(amount: f64, fails_at: Option<usize>) -> Self {
        Self {
            amount,
            fails_at,
            seen: Vec::new(),
        }
    }
}

impl LayerHook for Adder {
    fn begin(&mut self, before: &[usize], tokens: &[&[u32]]) -> Result<(), Error> {
        let counts: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
        self.seen.push(format!("{counts:?} after {before:?}"));
        Ok(())
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        self.seen.push(format!("{layer}: {:?}", stream.dims()));
        if self.fails_at == Some(layer) {
            return Err(candle_core::Error::Msg("out of memory".into()).into());
        }
        if layer != 1 {
            return Ok(None);
        }
        Ok(Some((stream + self.amount)?))
    }

    fn end(&mut self, _stream: &Tensor) {
        self.seen.push("end".into());
    }
}

#[test]
fn a_memory_joins_ahead_of_its_layer() {
    let (model, golden) = (load("v3_grouped"), Golden::read("v3_grouped"));
    let mut nothing = Adder::new(0.0, None);
    let tokens = golden.part(0..23);
    let out = model.forward(&tokens, &mut model.cache(2), &mut nothing);
    assert!(golden.check_all(0, &out.unwrap()) < LIMIT);
    let seen = [
        "[23, 23] after [0, 0]",
        "0: [2, 23, 1, 64]",
        "1: [2, 23, 1, 64]",
        "2: [2, 23, 1, 64]",
        "end",
    ];
    assert_eq!(nothing.seen, seen);
    let out = model
        .forward(&tokens, &mut model.cache(2), &mut Adder::new(0.5, None))
        .unwrap();
    assert!(golden.check_all(0, &out) > 0.1);
}

#[test]
fn a_pass_that_fails_leaves_the_cache_as_it_was() {
    let (model, golden) = (load("v3_yarn"), Golden::read("v3_yarn"));
    for before in [0, 7] {
        let mut cache = model.cache(2);
        if before > 0 {
            forward(&model, &golden.part(0..before), &mut cache);
        }
        let rest = golden.part(before..23);
        let mut failing = Adder::new(1.0, Some(2));
        let error = model.forward(&rest, &mut cache, &mut failing).unwrap_err();
        assert!(error.to_string().contains("out of memory"), "{error}");
        assert!(!failing.seen.contains(&"end".into()));
        assert_eq!(cache.lens(), [before; 2]);
        let out = forward(&model, &rest, &mut cache);
        assert!(golden.check_all(before, &out) < LIMIT);
    }
}

#[test]
fn a_memory_of_another_shape_is_an_error() {
    struct Narrow;
    impl LayerHook for Narrow {
        fn begin(&mut self, _: &[usize], _: &[&[u32]]) -> Result<(), Error> {
            Ok(())
        }

        fn add(&mut self, _: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
            Ok(Some(stream.narrow(3, 0, 1)?))
        }
    }
    let (model, golden) = (load("v3_grouped"), Golden::read("v3_grouped"));
    let error = model
        .forward(&golden.part(0..23), &mut model.cache(2), &mut Narrow)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the residual stream returned by the hook has the shape [2, 23, 1, 1], expected [2, 23, 1, 64]"
    );
}

#[test]
fn tokens_and_caches_that_do_not_fit_are_errors() {
    let model = load("v3_grouped");
    let fails = |tokens: &[&[u32]], cache: &mut Cache, text: &str| {
        let error = model
            .forward(tokens, cache, &mut ())
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{error}");
    };
    fails(
        &[&[5], &[3, 95, 96]],
        &mut model.cache(2),
        "token 96 at 2 of sequence 1: the vocabulary has 96",
    );
    fails(
        &[&[], &[]],
        &mut model.cache(2),
        "none of the 2 sequences has a token",
    );
    let two = "the number of sequences is 2, expected 1";
    fails(&[&[5]], &mut model.cache(2), two);
}
