//! The rows of an entry, from files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ArgGroup;
use engram_overlay::RowData;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// Begins every NumPy file.
const NPY_START: &[u8] = b"\x93NUMPY";

/// The options that give rows: [head][value] for an n-gram, values for a row.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("data").args(["values", "from"]).required(true)))]
#[group(skip)]
pub(super) struct DataArgs {
    /// Values as JSON
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    values: Option<String>,
    /// A file of values: .json, .npy of binary32, or .safetensors with one F32 tensor
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl DataArgs {
    pub(super) fn read(&self) -> Result<RowData> {
        let values = match (&self.values, &self.from) {
            (Some(text), _) => of_json(text).context("--values")?,
            (None, Some(path)) => of_file(path).with_context(|| path.display().to_string())?,
            (None, None) => unreachable!("clap asks for one of them"),
        };
        Ok(values.into())
    }
}

fn of_file(path: &Path) -> Result<Vec<f32>> {
    let bytes = fs::read(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => of_json(std::str::from_utf8(&bytes)?),
        Some("npy") => of_npy(&bytes),
        Some("safetensors") => of_safetensors(&bytes),
        _ => bail!("expected a file whose name ends with .json, .npy or .safetensors"),
    }
}

fn of_json(text: &str) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    flatten(&serde_json::from_str(text)?, &mut values)?;
    Ok(values)
}

/// The numbers of nested lists, one after another.
pub(super) fn flatten(value: &Value, values: &mut Vec<f32>) -> Result<()> {
    match value {
        Value::Array(list) => list.iter().try_for_each(|value| flatten(value, values)),
        other => {
            let number = other.as_f64();
            let number = number.with_context(|| format!("{other} is no number"))?;
            #[expect(clippy::cast_possible_truncation, reason = "to the nearest value")]
            values.push(number as f32);
            Ok(())
        }
    }
}

fn of_npy(bytes: &[u8]) -> Result<Vec<f32>> {
    let cut = "it is no whole NumPy file";
    let rest = bytes.strip_prefix(NPY_START).context(cut)?;
    let (version, rest) = rest.split_first_chunk::<2>().context(cut)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().context(cut)?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().context(cut)?;
        (usize::try_from(u32::from_le_bytes(*length))?, rest)
    };
    let (header, data) = rest.split_at_checked(length).context(cut)?;
    let header: String = str::from_utf8(header)?.split_whitespace().collect();
    ensure!(
        header.contains("'descr':'<f4'") && header.contains("'fortran_order':False"),
        "expected little-endian binary32 in C order, found {header}"
    );
    let shape = header
        .split_once("'shape':(")
        .and_then(|(_, rest)| rest.split_once(')'));
    let shape = shape.context(cut)?.0;
    let sizes = shape.split(',').filter(|size| !size.is_empty());
    let count = sizes
        .map(str::parse)
        .try_fold(1_usize, |count, size: Result<usize, _>| {
            count.checked_mul(size.ok()?)
        });
    let count = count.context(cut)?;
    let (values, rest) = data.as_chunks::<4>();
    ensure!(
        rest.is_empty() && values.len() == count,
        "its header says {count} values, there are {} bytes",
        data.len()
    );
    Ok(values
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .collect())
}

fn of_safetensors(bytes: &[u8]) -> Result<Vec<f32>> {
    let file = SafeTensors::deserialize(bytes)?;
    let tensors = file.tensors();
    let [(name, tensor)] = &*tensors else {
        bail!("it has {} tensors, expected one", tensors.len());
    };
    ensure!(
        tensor.dtype() == Dtype::F32,
        "tensor `{name}` is {:?}, expected F32",
        tensor.dtype()
    );
    let (values, _) = tensor.data().as_chunks::<4>();
    Ok(values
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, values: &[f32]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        let values: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        [NPY_START, &[1, 0], &length, header.as_bytes(), &values].concat()
    }

    #[test]
    fn values_are_read_from_every_form_and_other_files_are_refused() {
        let values = [1.5, -2.0, 0.25, 3.0];
        assert_eq!(of_json("[[1.5, -2], [0.25, 3e0]]").unwrap(), values);
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n";
        assert_eq!(of_npy(&npy(header, &values)).unwrap(), values);
        for (header, values) in [
            (header.replace("<f4", "<f8"), &values[..]),
            (header.replace("False", "True"), &values),
            (header.replace("2, 2", "2, 3"), &values),
            (header.replace("2, 2", "99999999999, 99999999999"), &values),
        ] {
            assert!(of_npy(&npy(&header, values)).is_err(), "{header}");
        }
        let whole = npy(header, &values);
        for length in 0..whole.len() {
            assert!(of_npy(&whole[..length]).is_err(), "cut at {length}");
        }
        assert!(of_json("[1, null]").is_err());
    }
}
