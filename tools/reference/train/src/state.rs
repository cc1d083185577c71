//! All that a training needs to go on as if it had never stopped.

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

/// Name of the field that says what a state is of.
const ABOUT: &str = "training";
/// What is written of each step.
const REPORT: usize = 4;

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
                shape: vec![self.steps.len(), REPORT],
                bytes: cast_slice(&steps).to_vec(),
            },
        ));
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        let views = tensors
            .iter()
            .map(|(name, stored)| (name.as_str(), stored.bytes.as_slice()));
        let mut about = About {
            recipe: json!(self.recipe),
            corpus: self.corpus.digest().to_string(),
            updates,
            digest: None,
        };
        about.digest = Some(about.digest_with(views));
        // One field: more would come in another order each time.
        let metadata = HashMap::from([(ABOUT.to_owned(), json!(about).to_string())]);
        Ok(publish_bytes(path, &serialize(&tensors, Some(metadata)))?)
    }

    /// Goes on from the state at `path`, which a training of the same recipe and corpus wrote. The device may be another.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is of another training; then nothing has changed.
    pub fn restore(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = fs::read(path).map_err(|source| IoError::Os {
            action: "read",
            path: path.into(),
            source,
        })?;
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
            let variable = variable.ok_or_else(|| state.fault(name, "there", "no such tensor"))?;
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
    /// Of each tensor that has had some.
    updates: BTreeMap<String, u32>,
    /// Of all else; none while it is taken.
    digest: Option<Digest>,
}

impl About {
    /// The digest of this and of `tensors`, in the order of their names.
    fn digest_with<'a>(&self, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> Digest {
        let mut digester = Digester::new();
        let plain = json!([self.recipe, self.corpus, self.updates]);
        digester.update(plain.to_string().as_bytes());
        for (name, bytes) in tensors {
            digester.update(name.as_bytes());
            digester.update(bytes);
        }
        digester.finish()
    }
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
        let unreadable = |error: safetensors::SafeTensorError| Error::State {
            path: path.into(),
            field: "the file".into(),
            found: format!("no safetensors file ({error})"),
            expected: "a state that a training wrote".into(),
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let fields = metadata.metadata().iter().flatten();
        let about = fields
            .filter(|(name, _)| *name == ABOUT)
            .map(|(_, text)| text);
        let about = about.map(|text| serde_json::from_str::<About>(text)).next();
        let about = about.and_then(Result::ok).ok_or_else(|| Error::State {
            path: path.into(),
            field: ABOUT.into(),
            found: "missing or unreadable".into(),
            expected: "what a training writes".into(),
        })?;
        let state = Self {
            path: path.into(),
            tensors: SafeTensors::deserialize(bytes).map_err(unreadable)?,
            about,
        };
        let mut views = state.tensors.tensors();
        views.sort_by(|(a, _), (b, _)| a.cmp(b));
        let views = views
            .iter()
            .map(|(name, view)| (name.as_str(), view.data()));
        let found = state.about.digest_with(views);
        if Some(found) != state.about.digest {
            let expected = state
                .about
                .digest
                .map_or_else(String::new, |of| of.to_string());
            return Err(state.fault("the digest of all values", &found.to_string(), &expected));
        }
        Ok(state)
    }

    fn fault(&self, field: &str, found: &str, expected: &str) -> Error {
        Error::State {
            path: self.path.clone(),
            field: field.into(),
            found: found.into(),
            expected: expected.into(),
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
        let view = view.map_err(|_| self.fault(name, "missing", "there"))?;
        if view.dtype() != dtype || view.shape() != shape {
            let found = format!("{} {:?}", view.dtype(), view.shape());
            return Err(self.fault(name, &found, &format!("{dtype} {shape:?}")));
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
        let count = self
            .tensors
            .tensor("steps")
            .map_or(0, |view| view.shape()[0]);
        let view = self.values("steps", Dtype::F64, &[count, REPORT])?;
        let values = words(view.data(), f64::from_le_bytes);
        let steps = values.as_chunks::<REPORT>().0.iter();
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
