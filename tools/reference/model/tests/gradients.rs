//! Models over variables give the same logits, and gradients that agree with differences.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor, Var};
use engram::Scheme;
use engram_checkpoint::{Family, read_json, read_token_map};
use engram_model::{
    Config, Error, LayerHook, Model,
    memory_block::{BlockWeights, ConvState},
};
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Normal};
use serde_json::Value;

const TOKENS: [&[u32]; 2] = [&[5, 17, 40, 17, 3, 90, 25, 8], &[61, 2, 7, 7, 30, 8, 61, 2]];
const TARGETS: [&[u32]; 2] = [&[17, 40, 17, 3, 90, 25, 8, 1], &[2, 7, 7, 30, 8, 61, 2, 90]];

/// Whatever is drawn: with others a step may give a token to another expert, or turn the sign that a gate is the root
/// of.
const SEED: u64 = 1;

/// Normal values, the same for the same `seed`.
fn random(shape: &[usize], deviation: f32, seed: u64) -> Tensor {
    let normal = Normal::new(0.0, deviation).unwrap();
    let values = normal.sample_iter(StdRng::seed_from_u64(seed));
    let values: Vec<f32> = values.take(shape.iter().product()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Blocks with rows that are given.
struct Given {
    blocks: BlockWeights,
    states: Vec<ConvState>,
    /// Of each block, `[sequences, tokens, columns * width]`.
    rows: Vec<Tensor>,
}

impl LayerHook for Given {
    fn begin(&mut self, _: &[usize], _: &[&[u32]]) -> Result<(), Error> {
        Ok(())
    }

    fn add(&mut self, layer: usize, stream: &Tensor) -> Result<Option<Tensor>, Error> {
        let Some(index) = self.blocks.layers().position(|block| block == layer) else {
            return Ok(None);
        };
        let counts = TOKENS.map(<[u32]>::len);
        let state = &mut self.states[index];
        let rows = &self.rows[index];
        let stream = self
            .blocks
            .forward(index, rows, stream, None, &counts, state)?;
        Ok(Some(stream))
    }
}

/// A golden model, whose tensors can be variables.
struct Case {
    config: Config,
    family: Option<Family>,
    folder: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = golden(name);
        let json: Value = read_json(&folder.join("config.json")).unwrap();
        let family = Family::from_json(&folder, &json).ok();
        let config = Config::from_file(folder.join("config.json")).unwrap();
        let mut tensors = Model::fresh_tensors(&config, 1).unwrap();
        if let Some(family) = &family {
            let scheme = scheme(&folder, family);
            tensors.extend(BlockWeights::fresh_tensors(&config, family, &scheme, 2).unwrap());
        }
        // A convolution of zeros, as in a fresh model, would hide what is before it.
        for (name, tensor) in &mut tensors {
            if name.contains("conv.weight") {
                *tensor = random(tensor.dims(), 0.3, SEED);
            }
        }
        let mut case = Self {
            config,
            family,
            folder,
            tensors,
        };
        case.add_rows();
        case
    }

    fn add_rows(&mut self) {
        let Some(family) = &self.family else { return };
        let scheme = scheme(&self.folder, family);
        let width = family.table_tensors(&scheme, 0).width as usize;
        for index in 0..scheme.layers.len() {
            let shape = [2, 8, scheme.column_count() * width];
            let rows = random(&shape, 1.0, SEED + 1 + index as u64);
            self.tensors.insert(format!("rows.{index}"), rows);
        }
    }

    fn memory(&self, tensors: &BTreeMap<String, Tensor>) -> Option<Given> {
        let family = self.family.as_ref()?;
        let scheme = scheme(&self.folder, family);
        let blocks: BTreeMap<String, Tensor> = of(tensors, |name| !name.starts_with("rows."));
        let blocks =
            BlockWeights::from_tensors(&self.config, family, &scheme, &blocks, &Device::Cpu)
                .unwrap();
        let rows = of(tensors, |name| name.starts_with("rows."));
        Some(Given {
            states: blocks.states(2),
            blocks,
            rows: rows.into_values().collect(),
        })
    }

    fn logits(&self, tensors: &BTreeMap<String, Tensor>) -> Vec<Tensor> {
        let decoder = of(tensors, |name| !name.starts_with("rows."));
        let model = Model::from_tensors(&self.config, &decoder, &Device::Cpu).unwrap();
        let mut memory = self.memory(tensors);
        model
            .forward(&TOKENS, &mut model.cache(2), &mut memory)
            .unwrap()
    }

    fn loss(&self, tensors: &BTreeMap<String, Tensor>) -> Tensor {
        let decoder = of(tensors, |name| !name.starts_with("rows."));
        let model = Model::from_tensors(&self.config, &decoder, &Device::Cpu).unwrap();
        let mut memory = self.memory(tensors);
        model
            .loss(&TOKENS, &TARGETS, &mut model.cache(2), &mut memory)
            .unwrap()
    }

    fn variables(&self) -> BTreeMap<String, Tensor> {
        let variable = |tensor: &Tensor| Var::from_tensor(tensor).unwrap().into_inner();
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), variable(tensor)))
            .collect()
    }
}

fn scheme(folder: &Path, family: &Family) -> Scheme {
    let map = read_token_map(folder, None).ok();
    family.scheme(map.as_ref()).unwrap()
}

fn of(tensors: &BTreeMap<String, Tensor>, of: impl Fn(&str) -> bool) -> BTreeMap<String, Tensor> {
    let tensors = tensors.iter().filter(|(name, _)| of(name));
    tensors
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

const CASES: [&str; 6] = [
    "v3_grouped",
    "v2_greedy",
    "hyper",
    "engram_v41",
    "engram_demo",
    "engram_qwen",
];

#[test]
fn variables_give_the_same_logits() {
    for name in CASES {
        let case = Case::new(name);
        let (plain, tracked) = (case.logits(&case.tensors), case.logits(&case.variables()));
        for (plain, tracked) in plain.iter().zip(&tracked) {
            assert!(tracked.track_op());
            let apart = (plain - tracked).unwrap().abs().unwrap();
            let apart = apart.max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(apart <= 1e-5, "{name}: {apart}");
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    for name in CASES {
        let case = Case::new(name);
        let variables = case.variables();
        let gradients = case.loss(&variables).backward().unwrap();
        let mut checked = BTreeSet::new();
        for (tensor_name, variable) in &variables {
            let Some(gradient) = gradients.get(variable) else {
                // A correction only chooses, and an expert without tokens does nothing.
                let expected = ["correction", ".experts."];
                assert!(
                    expected.iter().any(|of| tensor_name.contains(of)),
                    "{name}: {tensor_name}"
                );
                continue;
            };
            // One of each kind.
            let kind = tensor_name.replace(|c: char| c.is_ascii_digit(), "");
            if !checked.contains(&kind) && check(&case, name, tensor_name, &values(gradient)) {
                checked.insert(kind);
            }
        }
        assert!(checked.len() > 12, "{name}: {checked:?}");
    }
}

/// Moves the tensor along its gradient: the loss must change by the gradient's length. Not checked is one so short that
/// rounding hides it.
fn check(case: &Case, model: &str, name: &str, gradient: &[f32]) -> bool {
    let length = gradient
        .iter()
        .map(|g| f64::from(*g).powi(2))
        .sum::<f64>()
        .sqrt();
    assert!(length.is_finite());
    if length < 2e-3 {
        return false;
    }
    let tensor = &case.tensors[name];
    let size = values(tensor)
        .iter()
        .map(|v| f64::from(*v).powi(2))
        .sum::<f64>()
        .sqrt();
    let longest = (1e-2 * size.max(0.5)).min(3e-3 / length);
    let moved = |by: f64| {
        let along = gradient.iter().zip(values(tensor));
        #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
        let along = along.map(|(g, v)| (f64::from(v) + by * f64::from(*g) / length) as f32);
        let moved = Tensor::from_vec(along.collect::<Vec<_>>(), tensor.shape(), &Device::Cpu);
        let mut tensors = case.tensors.clone();
        tensors.insert(name.into(), moved.unwrap());
        f64::from(case.loss(&tensors).to_scalar::<f32>().unwrap())
    };
    // A step that gives a token to another expert jumps; a shorter one does not reach so far.
    let found = [1.0, 0.25, 0.0625].map(|part| {
        let step = part * longest;
        let found = (moved(step) - moved(-step)) / (2.0 * step);
        let rounding = 2e-6 / step;
        (
            found,
            (found - length).abs() < 0.02 * length + rounding.min(0.3 * length),
        )
    });
    assert!(
        found.iter().any(|&(_, agrees)| agrees),
        "{model} {name}: the loss changes by {found:?}, the gradient says {length}"
    );
    true
}
