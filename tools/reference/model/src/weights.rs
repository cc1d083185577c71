//! The tensors of a model, as its parts ask for them: read from a checkpoint, given by the caller, or initialised.

mod tiles;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use candle_nn::Linear;
use engram_checkpoint::{Dtype, TensorFiles};
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Normal};

use crate::{Error, error::expect_shape, grad::Norm};

/// Where tensors come from.
#[derive(Debug)]
pub(crate) struct Weights {
    source: Source,
    device: Device,
}

#[derive(Debug)]
enum Source {
    Files(Files),
    Given(Given),
    Fresh {
        random: Box<StdRng>,
        made: BTreeMap<String, Tensor>,
    },
}

#[derive(Debug)]
struct Files {
    all: TensorFiles,
    folder: PathBuf,
    /// Names of the tensors that nothing has asked for yet.
    left: BTreeSet<String>,
}

/// Tensors that the caller gave.
#[derive(Debug)]
struct Given {
    all: BTreeMap<String, Tensor>,
    /// Names of the tensors that nothing has asked for yet.
    left: BTreeSet<String>,
}

/// How a tensor is initialised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Init {
    Zeros,
    Ones,
    /// Normally distributed, with this standard deviation.
    Random(f64),
}

impl Weights {
    /// Reads the headers of `folder`'s files.
    pub(crate) fn open(folder: &Path, device: &Device) -> Result<Self, Error> {
        let files = TensorFiles::open(folder)?;
        let left = files.tensors().map(|tensor| tensor.name.clone()).collect();
        Ok(Self {
            source: Source::Files(Files {
                all: files,
                folder: folder.into(),
                left,
            }),
            device: device.clone(),
        })
    }

    /// Hands out `tensors`, by their names.
    pub(crate) fn given(tensors: &BTreeMap<String, Tensor>, device: &Device) -> Self {
        Self {
            source: Source::Given(Given {
                all: tensors.clone(),
                left: tensors.keys().cloned().collect(),
            }),
            device: device.clone(),
        }
    }

    /// Initialises whatever is asked for, in the same way for the same `seed`.
    pub(crate) fn fresh(seed: u64, device: &Device) -> Self {
        Self {
            source: Source::Fresh {
                random: Box::new(StdRng::seed_from_u64(seed)),
                made: BTreeMap::new(),
            },
            device: device.clone(),
        }
    }

    /// All tensors, by their whole names.
    pub(crate) fn root(&mut self) -> Scope<'_> {
        Scope {
            weights: self,
            prefix: String::new(),
        }
    }

    /// The prefix before `part` in the names of the checkpoint, such as `model.`; empty if no name has `part`.
    pub(crate) fn prefix_of(&self, part: &str) -> String {
        let (Source::Files(Files { left, .. }) | Source::Given(Given { left, .. })) = &self.source
        else {
            return String::new();
        };
        let before = |name: &String| {
            let (before, _) = name.split_once(part)?;
            (before.is_empty() || before.ends_with('.')).then(|| before.to_owned())
        };
        left.iter().find_map(before).unwrap_or_default()
    }

    /// Checks that no tensor of a checkpoint is left but those that `ignored` names.
    pub(crate) fn finish(&self, ignored: impl Fn(&str) -> bool) -> Result<(), Error> {
        let (Source::Files(Files { left, .. }) | Source::Given(Given { left, .. })) = &self.source
        else {
            return Ok(());
        };
        let Some(name) = left.iter().find(|name| !ignored(name)) else {
            return Ok(());
        };
        let name = name.clone();
        Err(match &self.source {
            Source::Files(Files { all, .. }) => {
                let tensor = all.named(&name).expect("it is one of them");
                let path = all.path(tensor.source);
                Error::UnknownTensor { path, name }
            }
            _ => Error::NoPlace { name },
        })
    }

    /// The tensors that have been initialised.
    pub(crate) fn into_made(self) -> BTreeMap<String, Tensor> {
        match self.source {
            Source::Fresh { made, .. } => made,
            Source::Files(_) | Source::Given(_) => BTreeMap::new(),
        }
    }

    fn take(&mut self, name: String, shape: &[usize], init: Init) -> Result<Tensor, Error> {
        match &mut self.source {
            Source::Files(files) => files.take(&name, shape, &self.device),
            Source::Given(given) => given.take(name, shape),
            Source::Fresh { random, made } => {
                let tensor = make(random, shape, init, &self.device)?;
                made.insert(name, tensor.clone());
                Ok(tensor)
            }
        }
    }
}

impl Given {
    fn take(&mut self, name: String, shape: &[usize]) -> Result<Tensor, Error> {
        let Some(tensor) = self.all.get(&name) else {
            let expected = shape.to_vec();
            return Err(Error::NotGiven { name, expected });
        };
        expect_shape(&format!("tensor {name}"), tensor, shape)?;
        self.left.remove(&name);
        Ok(tensor.to_dtype(DType::F32)?)
    }
}

impl Files {
    fn take(&mut self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor, Error> {
        let Some(stored) = self.all.resolve(name)? else {
            return Err(Error::MissingTensor {
                path: self.folder.clone(),
                name: name.into(),
                expected: shape.to_vec(),
            });
        };
        let fault = |field, found: String, expected| {
            let error = self.all.fault(stored, field, found, expected);
            Err(error.into())
        };
        if !stored
            .shape
            .iter()
            .copied()
            .eq(shape.iter().map(|&n| n as u64))
        {
            let found = format!("{:?}", stored.shape);
            return fault("shape", found, format!("{shape:?}"));
        }
        self.left.remove(&stored.name);
        if stored.dtype == Dtype::F8_E4M3 {
            return tiles::read(&self.all, stored, shape, &mut self.left, device);
        }
        let dtype = match stored.dtype {
            Dtype::F32 => DType::F32,
            Dtype::BF16 => DType::BF16,
            Dtype::F16 => DType::F16,
            Dtype::F64 => DType::F64,
            other => {
                let expected = "F32, BF16, F16, F64, or F8_E4M3 with scales".into();
                return fault("dtype", other.to_string(), expected);
            }
        };
        let tensor = Tensor::from_raw_buffer(&self.all.read(stored)?, dtype, shape, device)?;
        Ok(tensor.to_dtype(DType::F32)?)
    }
}

fn make(
    random: &mut StdRng,
    shape: &[usize],
    init: Init,
    device: &Device,
) -> Result<Tensor, Error> {
    let deviation = match init {
        Init::Zeros => return Ok(Tensor::zeros(shape, DType::F32, device)?),
        Init::Ones => return Ok(Tensor::ones(shape, DType::F32, device)?),
        Init::Random(deviation) => deviation,
    };
    let normal = Normal::new(0.0, deviation).expect("a finite deviation");
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    let values = normal.sample_iter(random).map(|value| value as f32);
    let values: Vec<f32> = values.take(shape.iter().product()).collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// The tensors whose names begin with a prefix, all as f32.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    weights: &'a mut Weights,
    /// Empty, or ends with a dot.
    prefix: String,
}

impl Scope<'_> {
    /// The tensors of the part `name`.
    pub(crate) fn at(&mut self, name: impl Display) -> Scope<'_> {
        Scope {
            weights: self.weights,
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    pub(crate) fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        init: Init,
    ) -> Result<Tensor, Error> {
        let name = format!("{}{name}", self.prefix);
        self.weights.take(name, shape, init)
    }

    /// A projection from `inputs` values to `outputs`, initialised so that values keep their size.
    #[expect(clippy::cast_precision_loss, reason = "any deviation near it will do")]
    pub(crate) fn linear(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, Error> {
        let mut part = self.at(name);
        let init = Init::Random(1.0 / (inputs as f64).sqrt());
        let weight = part.tensor("weight", &[outputs, inputs], init)?;
        let bias = bias
            .then(|| part.tensor("bias", &[outputs], Init::Zeros))
            .transpose()?;
        Ok(Linear::new(weight, bias))
    }

    /// A norm of `size` values.
    pub(crate) fn norm(&mut self, name: &str, size: usize, eps: f64) -> Result<Norm, Error> {
        let weight = self.at(name).tensor("weight", &[size], Init::Ones)?;
        Ok(Norm::new(weight, eps))
    }
}
