//! A trained model as a checkpoint that others read.

use std::path::Path;

use bytemuck::cast_slice;
use candle_core::Tensor;
use engram_checkpoint::{CONFIG_FILE, TOKENIZER_FILE};
use engram_io::{create_folder, publish_bytes};
use safetensors::{Dtype, tensor::TensorView};

use crate::{Error, Trainer};

/// Name of the weights in a checkpoint.
const WEIGHTS_FILE: &str = "model.safetensors";
/// What stands before layers in the names of a decoder's tensors.
const PREFIX: &str = "model.";

/// The values of a tensor, ready to be written.
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Stored {
    pub(crate) fn of(tensor: &Tensor) -> Result<Self, Error> {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        Ok(Self::floats(&values, tensor.dims()))
    }

    pub(crate) fn floats(values: &[f32], shape: &[usize]) -> Self {
        Self {
            dtype: Dtype::F32,
            shape: shape.into(),
            bytes: cast_slice(values).to_vec(),
        }
    }

    /// The view of these values that safetensors takes.
    ///
    /// # Panics
    /// If there are more or fewer bytes than the shape says.
    pub(crate) fn view(&self) -> TensorView<'_> {
        let view = TensorView::new(self.dtype, self.shape.clone(), &self.bytes);
        view.expect("as many bytes as the shape says")
    }
}

/// A safetensors file of `tensors`.
pub(crate) fn serialize(
    tensors: &[(String, Stored)],
    metadata: Option<std::collections::HashMap<String, String>>,
) -> Vec<u8> {
    let views = tensors.iter().map(|(name, stored)| (name, stored.view()));
    safetensors::serialize(views, metadata).expect("names and sizes are in order")
}

impl Trainer<'_> {
    /// Writes the model to `folder`: `config.json`, `tokenizer.json` and `model.safetensors`, in the layout of the
    /// authors' demo. `engram-pack` packs it, and `engram-model` runs it with the pack. The configuration comes last,
    /// so a folder that has one is whole.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn export(&self, folder: &Path) -> Result<(), Error> {
        create_folder(folder)?;
        let mut tensors = Vec::new();
        for (name, variable) in &self.variables {
            tensors.push((name.clone(), Stored::of(variable)?));
        }
        if let Some(engram) = &self.engram {
            let scheme = engram.hasher.scheme();
            for (index, table) in engram.tables.iter().enumerate() {
                let name = &engram.family.table_tensors(scheme, index).values[0].name;
                let shape = [table.rows(), table.width()];
                tensors.push((
                    format!("{PREFIX}{name}"),
                    Stored::floats(&table.values, &shape),
                ));
            }
        }
        publish_bytes(&folder.join(WEIGHTS_FILE), &serialize(&tensors, None))?;
        let vocabulary = self.corpus.vocabulary();
        publish_bytes(&folder.join(TOKENIZER_FILE), vocabulary.json())?;
        let config = format!("{:#}\n", self.recipe.config_json(vocabulary));
        Ok(publish_bytes(&folder.join(CONFIG_FILE), config.as_bytes())?)
    }
}
