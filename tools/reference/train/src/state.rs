//! The state of a training: all that it needs to go on as if it had never stopped.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use bytemuck::cast_slice;
use candle_core::{Tensor, Var};
use engram_format::{Digest, Digester};
use engram_io::{IoError, publish_bytes};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Error, StepReport, TrainableTable, Trainer,
    adam::{Adam, Moments},
    checkpoint::{Stored, serialize},
};

/// Name of the safetensors metadata field that holds [`Metadata`].
const METADATA: &str = "training";
/// Numbers that are written for each step.
const STEP_FIELDS: usize = 4;

impl Trainer<'_> {
    /// Writes everything to the file at `path`, which appears whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let mut tensors = Vec::new();
        for (name, variable) in &self.variables {
            tensors.push((format!("weight/{name}"), Stored::of(variable)?));
        }
        let mut updates = BTreeMap::new();
        for (name, moments) in &self.adam.moments {
            tensors.push((format!("first/{name}"), Stored::of(&moments.first)?));
            tensors.push((format!("second/{name}"), Stored::of(&moments.second)?));
            updates.insert(name.clone(), moments.updates);
        }
        for (index, table) in self.tables().iter().enumerate() {
            for (part, values) in [
                ("values", &table.values),
                ("first", &table.first),
                ("second", &table.second),
            ] {
                tensors.push((
                    format!("rows/{index}/{part}"),
                    Stored::floats(values, &[values.len()]),
                ));
            }
            tensors.push((
                format!("rows/{index}/updates"),
                Stored {
                    dtype: Dtype::U32,
                    shape: vec![table.updates.len()],
                    bytes: cast_slice(&table.updates).to_vec(),
                },
            ));
        }
        let steps: Vec<f64> = (self.steps.iter())
            .flat_map(|step| [step.loss, step.rate, step.norm, step.imbalance])
            .collect();
        tensors.push((
            "steps".into(),
            Stored {
                dtype: Dtype::F64,
                shape: vec![self.steps.len(), STEP_FIELDS],
                bytes: cast_slice(&steps).to_vec(),
            },
        ));
        let about = About {
            recipe: json!(self.recipe),
            corpus: self.corpus.digest().to_string(),
            updates,
        };
        Ok(publish_bytes(path, &to_bytes(tensors, about))?)
    }

    /// Goes on from the state at `path`, which a training of the same recipe and corpus wrote, on whatever device.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is of another training; then nothing has changed.
    pub fn restore(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = fs::read(path).map_err(IoError::os("read", path))?;
        let state = State::open(path, &bytes)?;
        state.check_recipe(&json!(self.recipe))?;
        let corpus = self.corpus.digest().to_string();
        state.check("the corpus", &corpus, &state.about.corpus)?;

        let mut weights = Vec::new();
        for (name, variable) in &self.variables {
            weights.push((variable.clone(), state.tensor("weight", name, variable)?));
        }
        let mut adam = Adam::default();
        for (name, &updates) in &state.about.updates {
            let variable = self.variables.get(name);
            let variable = variable.ok_or_else(|| Error::StateTensorUnknown {
                path: path.into(),
                name: name.clone(),
            })?;
            let moments = Moments {
                first: state.tensor("first", name, variable)?,
                second: state.tensor("second", name, variable)?,
                updates,
            };
            adam.moments.insert(name.clone(), moments);
        }
        let tables = self.tables().iter().enumerate();
        let tables = tables
            .map(|(index, table)| state.table(index, table))
            .collect::<Result<Vec<_>, _>>()?;
        let steps = state.steps()?;

        for (variable, weight) in weights {
            variable.set(&weight)?;
        }
        if let Some(engram) = &mut self.engram {
            engram.tables = tables;
        }
        (self.adam, self.steps) = (adam, steps);
        Ok(())
    }
}

/// What a state says beside its tensors.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    recipe: Value,
    /// Digest of the corpus.
    corpus: String,
    /// How many updates each weight has had; weights without any are left out.
    updates: BTreeMap<String, u32>,
}

/// The metadata of a state.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    #[serde(flatten)]
    about: About,
    /// Of `about` and of all tensors.
    digest: Digest,
}

impl About {
    /// The digest of this and of `tensors`, which must be in the order of their names.
    fn digest_with<'a>(&self, tensors: impl Iterator<Item = (&'a str, TensorView<'a>)>) -> Digest {
        let mut digester = Digester::new();
        let plain = json!([self.recipe, self.corpus, self.updates]);
        digester.update(plain.to_string().as_bytes());
        for (name, tensor) in tensors {
            let header = json!([name, tensor.dtype().to_string(), tensor.shape()]);
            digester.update(header.to_string().as_bytes());
            digester.update(tensor.data());
        }
        digester.finish()
    }
}

/// The file of a state.
fn to_bytes(mut tensors: Vec<(String, Stored)>, about: About) -> Vec<u8> {
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let views = tensors
        .iter()
        .map(|(name, stored)| (name.as_str(), stored.view()));
    let metadata = Metadata {
        digest: about.digest_with(views),
        about,
    };
    // A single field, because a map would write several in a different order each time.
    let metadata = HashMap::from([(METADATA.to_owned(), json!(metadata).to_string())]);
    serialize(&tensors, Some(metadata))
}

fn words<T, const N: usize>(bytes: &[u8], word: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().copied().map(word).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    words(bytes, f32::from_le_bytes)
}

/// A state that has been read.
struct State<'a> {
    path: PathBuf,
    tensors: SafeTensors<'a>,
    about: About,
}

impl<'a> State<'a> {
    fn open(path: &Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let unreadable = |source| Error::StateFile {
            path: path.into(),
            source,
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let metadata = header.metadata().as_ref();
        let metadata = metadata.and_then(|fields| fields.get(METADATA));
        let metadata = metadata.and_then(|text| serde_json::from_str::<Metadata>(text).ok());
        let metadata = metadata.ok_or_else(|| Error::StateMetadata {
            path: path.into(),
            field: METADATA,
        })?;
        let tensors = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let mut views = tensors.tensors();
        views.sort_by(|(a, _), (b, _)| a.cmp(b));
        let named = views
            .iter()
            .map(|(name, view)| (name.as_str(), view.clone()));
        let found = metadata.about.digest_with(named);
        if found != metadata.digest {
            return Err(Error::StateDigest {
                path: path.into(),
                found,
                expected: metadata.digest,
            });
        }
        Ok(Self {
            path: path.into(),
            tensors,
            about: metadata.about,
        })
    }

    fn tensor_error(&self, name: &str, found: String, expected: String) -> Error {
        Error::StateTensor {
            path: self.path.clone(),
            name: name.into(),
            found,
            expected,
        }
    }

    fn check(&self, field: &str, now: &str, found: &str) -> Result<(), Error> {
        if found == now {
            return Ok(());
        }
        Err(Error::Resume {
            path: self.path.clone(),
            field: field.into(),
            found: found.into(),
            expected: now.into(),
        })
    }

    /// Names the first field that differs.
    fn check_recipe(&self, now: &Value) -> Result<(), Error> {
        let fields = now.as_object().into_iter().flatten();
        for (field, now) in fields {
            let found = &self.about.recipe[field];
            self.check(field, &now.to_string(), &found.to_string())?;
        }
        Ok(())
    }

    fn values(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<TensorView<'_>, Error> {
        let view = self.tensors.tensor(name);
        let expected = format!("{dtype} {shape:?}");
        let Ok(view) = view else {
            return Err(self.tensor_error(name, "missing".into(), expected));
        };
        if view.dtype() != dtype || view.shape() != shape {
            let found = format!("{} {:?}", view.dtype(), view.shape());
            return Err(self.tensor_error(name, found, expected));
        }
        Ok(view)
    }

    /// The tensor `part/name`, of the shape and on the device of `like`.
    fn tensor(&self, part: &str, name: &str, like: &Var) -> Result<Tensor, Error> {
        let view = self.values(&format!("{part}/{name}"), Dtype::F32, like.dims())?;
        let values = floats(view.data());
        Ok(Tensor::from_vec(values, like.shape(), like.device())?)
    }

    /// The table at `index`, of the size of `like`.
    fn table(&self, index: usize, like: &TrainableTable) -> Result<TrainableTable, Error> {
        let means = |part: &str| -> Result<Vec<f32>, Error> {
            let name = format!("rows/{index}/{part}");
            let view = self.values(&name, Dtype::F32, &[like.values.len()])?;
            Ok(floats(view.data()))
        };
        let updates = format!("rows/{index}/updates");
        let updates = self.values(&updates, Dtype::U32, &[like.updates.len()])?;
        Ok(TrainableTable {
            values: means("values")?,
            first: means("first")?,
            second: means("second")?,
            updates: words(updates.data(), u32::from_le_bytes),
            width: like.width,
        })
    }

    fn steps(&self) -> Result<Vec<StepReport>, Error> {
        let view = self.tensors.tensor("steps").ok();
        // Whatever the count is, a tensor that is missing or has other dimensions is an error of `values`.
        let count = view.and_then(|view| view.shape().first().copied());
        let view = self.values("steps", Dtype::F64, &[count.unwrap_or(0), STEP_FIELDS])?;
        let values = words(view.data(), f64::from_le_bytes);
        let steps = values.as_chunks::<STEP_FIELDS>().0.iter();
        Ok(steps
            .map(|&[loss, rate, norm, imbalance]| StepReport {
                loss,
                rate,
                norm,
                imbalance,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state of no weights whose tensor `steps` has `shape`, and as many bytes as that takes.
    fn with_steps(shape: &[usize]) -> Vec<u8> {
        let steps = Stored {
            dtype: Dtype::F64,
            shape: shape.into(),
            bytes: vec![0; 8 * shape.iter().product::<usize>()],
        };
        let about = About {
            recipe: Value::Null,
            corpus: String::new(),
            updates: BTreeMap::new(),
        };
        to_bytes(vec![("steps".into(), steps)], about)
    }

    #[test]
    fn steps_of_other_dimensions_are_an_error() {
        let path = Path::new("state");
        let steps = |shape: &[usize]| {
            let bytes = with_steps(shape);
            let state = State::open(path, &bytes).unwrap();
            state.steps().map(|steps| steps.len())
        };
        assert_eq!(steps(&[3, STEP_FIELDS]).unwrap(), 3);
        for shape in [&[][..], &[4], &[2, 5], &[1, 4, 1]] {
            let error = steps(shape).unwrap_err().to_string();
            assert!(error.contains("steps is F64"), "{error}");
        }
    }

    #[test]
    fn a_changed_shape_changes_the_digest() {
        let mut bytes = with_steps(&[2, 4]);
        let header = b"[2,4]";
        let at = bytes.windows(header.len()).position(|part| part == header);
        bytes[at.unwrap()..][..header.len()].copy_from_slice(b"[4,2]");
        let error = State::open(Path::new("state"), &bytes).err().unwrap();
        assert!(matches!(error, Error::StateDigest { .. }), "{error}");
    }
}
