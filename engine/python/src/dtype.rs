//! What rows are handed out as.

use engram::{RowCodec, ValueType};
use engram_ffi::row_bytes;
use pyo3::{
    Bound, PyAny, PyResult,
    types::{PyAnyMethods, PyString, PyStringMethods, PyType, PyTypeMethods},
};

use crate::{
    errors::bad_type,
    memory::{Item, ItemKind},
    new_array::NewItems,
};

/// What rows are handed out as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dtype {
    /// As bytes of the checkpoint.
    Stored,
    Values(ValueType),
}

impl Dtype {
    /// The argument `dtype`: a name, or what NumPy or PyTorch have for it.
    ///
    /// # Errors
    /// Something else.
    pub(crate) fn of(dtype: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(name) = dtype.cast::<PyString>() {
            return Self::named(name.to_str()?);
        }
        let name = match dtype.cast::<PyType>() {
            Ok(class) => class.name()?,
            Err(_) => dtype.str()?,
        };
        Self::named(name.to_str()?)
    }

    fn named(name: &str) -> PyResult<Self> {
        match name.strip_prefix("torch.").unwrap_or(name) {
            "stored" | "uint8" => Ok(Self::Stored),
            "float32" => Ok(Self::Values(ValueType::F32)),
            "float16" => Ok(Self::Values(ValueType::F16)),
            "bfloat16" => Ok(Self::Values(ValueType::Bf16)),
            _ => Err(bad_type(format!(
                "`dtype` is {name}, expected \"float32\", \"float16\", \"bfloat16\" or \"stored\""
            ))),
        }
    }

    /// What rows are handed out as to an array of `item`.
    ///
    /// # Errors
    /// Items that rows are not, or that may be one thing or another.
    pub(crate) fn of_item(item: Item) -> PyResult<Self> {
        match (item.kind, item.bytes) {
            (ItemKind::Float, 4) => Ok(Self::Values(ValueType::F32)),
            (ItemKind::Float, 2) => Ok(Self::Values(ValueType::F16)),
            (ItemKind::Bfloat, 2) => Ok(Self::Values(ValueType::Bf16)),
            (ItemKind::Signed | ItemKind::Unsigned, 1) => Ok(Self::Stored),
            _ => Err(bad_type(format!(
                "`out` has {item}, expected float32, float16, bfloat16 or uint8, or a `dtype` that says what it is for"
            ))),
        }
    }

    /// Checks that rows can be handed out as this to an array of `item`: values of the type, or bare bits or bytes.
    ///
    /// # Errors
    /// Other items.
    pub(crate) fn check(self, item: Item) -> PyResult<()> {
        let is_bits = matches!(item.kind, ItemKind::Signed | ItemKind::Unsigned);
        let value_bytes = self.value_type().map_or(1, ValueType::bytes);
        let fits = Self::of_item(item).is_ok_and(|of_item| of_item == self)
            || is_bits && (item.bytes == 1 || item.bytes == value_bytes);
        if fits {
            return Ok(());
        }
        let name = self.name();
        Err(bad_type(format!(
            "`out` has {item}, which are no place for rows as {name}"
        )))
    }

    pub(crate) fn value_type(self) -> Option<ValueType> {
        match self {
            Self::Stored => None,
            Self::Values(value_type) => Some(value_type),
        }
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(self, codec: RowCodec) -> usize {
        row_bytes(codec, self.value_type())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Values(ValueType::F32) => "float32",
            Self::Values(ValueType::F16) => "float16",
            Self::Values(ValueType::Bf16) => "bfloat16",
        }
    }

    /// The items of an array that is made for such rows. Neither NumPy nor `memoryview` has bfloat16, so its bits are
    /// handed out.
    pub(crate) fn new_items(self) -> NewItems {
        match self {
            Self::Stored => NewItems::new("uint8", "B", 1),
            Self::Values(ValueType::F32) => NewItems::new("float32", "f", 4),
            Self::Values(ValueType::F16) => NewItems::new("float16", "e", 2),
            Self::Values(ValueType::Bf16) => NewItems::new("uint16", "H", 2),
        }
    }
}
