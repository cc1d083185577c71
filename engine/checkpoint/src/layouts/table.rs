//! Which tensors a model's table and the rest of its block lie in.

use safetensors::Dtype;

/// The tensors that hold one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTensors {
    /// Values a row.
    pub width: u32,
    /// Element type of the values in the published checkpoint.
    pub dtype: Dtype,
    /// The values, in row order.
    pub values: Vec<TensorRows>,
    /// Rows of all of `values` with their padding, where the configuration says that there is some.
    pub padded_rows: Option<u64>,
    /// Name of a tensor that holds the rows of all of `values` where a converter has joined them.
    pub whole: Option<String>,
    /// The scales that FP8 values go with.
    pub scales: Scales,
}

/// A tensor that holds consecutive rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRows {
    /// Its name, or the end of it.
    pub name: String,
    /// Its number of rows.
    pub rows: u64,
}

/// Where the scales of FP8 values are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scales {
    /// The published values need none. Where a converter has made values that do, it calls them as it does in others.
    None,
    /// A tensor with a row of UE8M0 scales for each row of values.
    Rows {
        /// Name of the tensor.
        name: String,
        /// Values to a scale in the published checkpoint.
        group: u32,
    },
    /// A tensor with scales of either kind, if the values need any.
    Named {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor with the one scale of the table.
    Single {
        /// Name of the tensor.
        name: String,
    },
}

/// A tensor beside the table: name, element type, shape.
pub type OtherTensor = (String, Dtype, Vec<u64>);

impl TableTensors {
    /// The same tensors under names without what stands before their first dot. `None` if one would have no
    /// dot left: `weight` alone may be of anything.
    pub(crate) fn without_first_part(&self) -> Option<Self> {
        let shorter = |name: &String| {
            let (_, rest) = name.split_once('.')?;
            rest.contains('.').then(|| rest.to_owned())
        };
        let values = self.values.iter().map(|tensor| {
            Some(TensorRows {
                name: shorter(&tensor.name)?,
                rows: tensor.rows,
            })
        });
        let scales = match &self.scales {
            Scales::None => Scales::None,
            Scales::Rows { name, group } => Scales::Rows {
                name: shorter(name)?,
                group: *group,
            },
            Scales::Named { name } => Scales::Named {
                name: shorter(name)?,
            },
            Scales::Single { name } => Scales::Single {
                name: shorter(name)?,
            },
        };
        Some(Self {
            values: values.collect::<Option<_>>()?,
            whole: match &self.whole {
                Some(whole) => Some(shorter(whole)?),
                None => None,
            },
            scales,
            ..self.clone()
        })
    }
}
