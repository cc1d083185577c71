//! The tensors of a checkpoint, read one by one as the model asks for them.

mod files;

use std::{
    collections::HashMap,
    fmt::Display,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, RmsNorm};
use safetensors::Dtype;

use crate::Error;

/// The tensors that nothing has asked for yet.
#[derive(Debug)]
pub(crate) struct Weights {
    /// The single file, or the index.
    origin: PathBuf,
    files: Vec<TensorFile>,
    tensors: HashMap<String, Stored>,
    device: Device,
}

#[derive(Debug)]
struct TensorFile {
    path: PathBuf,
    file: File,
}

/// Where a tensor lies.
#[derive(Debug)]
struct Stored {
    /// Index in [`Weights::files`].
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Of its first byte in the file.
    offset: u64,
    bytes: usize,
}

impl Weights {
    /// Reads the headers of `folder`'s files.
    pub(crate) fn open(folder: &Path, device: &Device) -> Result<Self, Error> {
        files::open(folder, device)
    }

    /// All tensors, by their whole names.
    pub(crate) fn root(&mut self) -> Scope<'_> {
        Scope {
            weights: self,
            prefix: String::new(),
        }
    }

    /// Checks that no tensor is left but those that `ignored` names.
    pub(crate) fn finish(&self, ignored: impl Fn(&str) -> bool) -> Result<(), Error> {
        let left = self.tensors.iter().filter(|(name, _)| !ignored(name));
        match left.min_by_key(|&(name, _)| name) {
            None => Ok(()),
            Some((name, stored)) => Err(Error::UnknownTensor {
                path: self.files[stored.file].path.clone(),
                name: name.clone(),
            }),
        }
    }

    fn take(&mut self, name: String, shape: &[usize]) -> Result<Tensor, Error> {
        let Some(stored) = self.tensors.remove(&name) else {
            return Err(Error::MissingTensor {
                path: self.origin.clone(),
                name,
                expected: shape.to_vec(),
            });
        };
        let TensorFile { path, file } = &mut self.files[stored.file];
        let fault = |field, found: String, expected: String| Error::Tensor {
            path: path.clone(),
            name: name.clone(),
            field,
            found,
            expected,
        };
        if stored.shape != shape {
            return Err(fault(
                "shape",
                format!("{:?}", stored.shape),
                format!("{shape:?}"),
            ));
        }
        let dtype = match stored.dtype {
            Dtype::F32 => DType::F32,
            Dtype::BF16 => DType::BF16,
            Dtype::F16 => DType::F16,
            Dtype::F64 => DType::F64,
            other => {
                return Err(fault(
                    "dtype",
                    other.to_string(),
                    "F32, BF16, F16 or F64".into(),
                ));
            }
        };
        let mut data = vec![0; stored.bytes];
        file.seek(SeekFrom::Start(stored.offset))
            .and_then(|_| file.read_exact(&mut data))
            .map_err(|source| Error::Io {
                path: path.clone(),
                source,
            })?;
        let tensor = Tensor::from_raw_buffer(&data, dtype, shape, &self.device)?;
        Ok(tensor.to_dtype(DType::F32)?)
    }
}

/// The tensors whose names begin with a prefix. All are given out in f32.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    weights: &'a mut Weights,
    /// Empty, or with a dot at its end.
    prefix: String,
}

impl Scope<'_> {
    /// Those of the part `name`.
    pub(crate) fn at(&mut self, name: impl Display) -> Scope<'_> {
        Scope {
            weights: self.weights,
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        self.weights.take(format!("{}{name}", self.prefix), shape)
    }

    /// A projection from `inputs` values to `outputs`.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, Error> {
        let mut part = self.at(name);
        let weight = part.tensor("weight", &[outputs, inputs])?;
        let bias = bias.then(|| part.tensor("bias", &[outputs])).transpose()?;
        Ok(Linear::new(weight, bias))
    }

    /// A norm of `size` values.
    pub(crate) fn norm(&mut self, name: &str, size: usize, eps: f64) -> Result<RmsNorm, Error> {
        Ok(RmsNorm::new(self.at(name).tensor("weight", &[size])?, eps))
    }
}
