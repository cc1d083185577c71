//! The logits of small checkpoints are those of transformers, however the tokens are split.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use engram_model::{Cache, Error, Memory, Model};

/// Of golden/make.py.
const CHECKPOINTS: [&str; 4] = ["v3_grouped", "v3_yarn", "v2_greedy", "v2_limited"];

/// Against transformers; the logits have a deviation of about one.
const LIMIT: f32 = 1e-4;

struct Golden {
    /// `[batch, tokens]`.
    ids: Tensor,
    /// `[batch, tokens, vocabulary]`.
    logits: Tensor,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn golden(name: &str) -> Golden {
    let path = folder(name).join("golden.safetensors");
    let tensors = safetensors::load(path, &Device::Cpu).unwrap();
    Golden {
        ids: tensors["input_ids"].to_dtype(DType::U32).unwrap(),
        logits: tensors["logits"].clone(),
    }
}

fn load(name: &str) -> Model {
    Model::load(folder(name), &Device::Cpu).unwrap()
}

/// The largest difference.
fn apart(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let apart = (a - b).unwrap().abs().unwrap();
    let apart = apart.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    apart
        .into_iter()
        .fold(0.0, |most: f32, one| if one <= most { most } else { one })
}

fn forward(model: &Model, tokens: &Tensor, cache: &mut Cache) -> Tensor {
    model.forward(tokens, cache, &mut ()).unwrap()
}

/// Runs pieces of these lengths.
fn in_pieces(model: &Model, ids: &Tensor, lens: &[usize]) -> Tensor {
    let mut cache = model.cache();
    let mut logits = Vec::new();
    for &len in lens {
        let piece = ids.narrow(1, cache.len(), len).unwrap();
        logits.push(forward(model, &piece, &mut cache));
    }
    assert_eq!(cache.len(), ids.dim(1).unwrap());
    Tensor::cat(&logits, 1).unwrap()
}

/// Checks pieces of these lengths with every checkpoint.
fn check(lens: &[usize]) {
    for name in CHECKPOINTS {
        let Golden { ids, logits } = golden(name);
        let apart = apart(&in_pieces(&load(name), &ids, lens), &logits);
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
            let Golden { ids, logits } = golden(other);
            assert!(apart(&in_pieces(&load(name), &ids, &[23]), &logits) > 0.1);
        }
    }
}

#[test]
fn a_truncated_cache_goes_on_as_if_nothing_had_followed() {
    for name in CHECKPOINTS {
        let (model, Golden { ids, logits }) = (load(name), golden(name));
        let mut cache = model.cache();
        forward(&model, &ids.narrow(1, 0, 9).unwrap(), &mut cache);
        // Guesses that turn out wrong.
        forward(&model, &ids.narrow(1, 15, 4).unwrap(), &mut cache);
        cache.truncate(100);
        assert_eq!(cache.len(), 13);
        cache.truncate(9);
        assert_eq!(cache.len(), 9);
        let rest = forward(&model, &ids.narrow(1, 9, 14).unwrap(), &mut cache);
        assert!(
            apart(&rest, &logits.narrow(1, 9, 14).unwrap()) < LIMIT,
            "{name}"
        );
        // After all is forgotten, another number of sequences may come.
        cache.truncate(0);
        assert!(cache.is_empty());
        let one = forward(&model, &ids.narrow(0, 1, 1).unwrap(), &mut cache);
        assert!(
            apart(&one, &logits.narrow(0, 1, 1).unwrap()) < LIMIT,
            "{name}"
        );
        cache.clear();
        let whole = forward(&model, &ids, &mut cache);
        assert!(apart(&whole, &logits) < LIMIT, "{name}");
    }
}

/// Adds `amount` to the stream ahead of layer 1, and fails ahead of layer `fails_at`.
struct Adder {
    amount: f64,
    fails_at: Option<usize>,
    seen: Vec<(usize, Vec<usize>)>,
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

impl Memory for Adder {
    fn add(&mut self, layer: usize, hidden: &Tensor) -> Result<Option<Tensor>, Error> {
        self.seen.push((layer, hidden.dims().to_vec()));
        if self.fails_at == Some(layer) {
            return Err(candle_core::Error::Msg("out of memory".into()).into());
        }
        if layer != 1 {
            return Ok(None);
        }
        Ok(Some((hidden + self.amount)?))
    }
}

#[test]
fn a_memory_joins_ahead_of_its_layer() {
    let (model, Golden { ids, logits }) = (load("v3_grouped"), golden("v3_grouped"));
    let mut nothing = Adder::new(0.0, None);
    let out = model
        .forward(&ids, &mut model.cache(), &mut nothing)
        .unwrap();
    assert!(apart(&out, &logits) < LIMIT);
    let shape = || vec![2, 23, 64];
    assert_eq!(nothing.seen, [(0, shape()), (1, shape()), (2, shape())]);
    let out = model
        .forward(&ids, &mut model.cache(), &mut Adder::new(0.5, None))
        .unwrap();
    assert!(apart(&out, &logits) > 0.1);
}

#[test]
fn a_pass_that_fails_leaves_the_cache_as_it_was() {
    let (model, Golden { ids, logits }) = (load("v3_yarn"), golden("v3_yarn"));
    for before in [0, 7] {
        let mut cache = model.cache();
        if before > 0 {
            forward(&model, &ids.narrow(1, 0, before).unwrap(), &mut cache);
        }
        let rest = ids.narrow(1, before, 23 - before).unwrap();
        let mut failing = Adder::new(1.0, Some(2));
        let error = model.forward(&rest, &mut cache, &mut failing).unwrap_err();
        assert!(error.to_string().contains("out of memory"), "{error}");
        assert_eq!(cache.len(), before);
        let out = forward(&model, &rest, &mut cache);
        assert!(apart(&out, &logits.narrow(1, before, 23 - before).unwrap()) < LIMIT);
    }
}

#[test]
fn a_memory_of_another_shape_is_an_error() {
    struct Narrow;
    impl Memory for Narrow {
        fn add(&mut self, _: usize, hidden: &Tensor) -> Result<Option<Tensor>, Error> {
            Ok(Some(hidden.narrow(2, 0, 1)?))
        }
    }
    let (model, Golden { ids, .. }) = (load("v3_grouped"), golden("v3_grouped"));
    let error = model
        .forward(&ids, &mut model.cache(), &mut Narrow)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor of the memory has the shape [2, 23, 1], expected [2, 23, 64]"
    );
}

#[test]
fn tokens_and_caches_that_do_not_fit_are_errors() {
    let (model, Golden { ids, .. }) = (load("v3_grouped"), golden("v3_grouped"));
    let mut cache = model.cache();
    let fails = |tokens: &Tensor, cache: &mut Cache, text: &str| {
        let error = model
            .forward(tokens, cache, &mut ())
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{error}");
    };
    let outside = Tensor::new(&[[3u32, 95, 96]], &Device::Cpu).unwrap();
    fails(
        &outside,
        &mut cache,
        "token 96 at 2 of sequence 0: the vocabulary has 96",
    );
    let none = Tensor::zeros((2, 0), DType::U32, &Device::Cpu).unwrap();
    fails(&none, &mut cache, "[2, 0]: there are none");
    fails(&ids.flatten_all().unwrap(), &mut cache, "rank");
    fails(&ids.to_dtype(DType::I64).unwrap(), &mut cache, "dtype");
    forward(&model, &ids, &mut cache);
    let one = ids.narrow(0, 0, 1).unwrap();
    fails(&one, &mut cache, "the number of sequences is 2, expected 1");
}
