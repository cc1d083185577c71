//! Memory that Python objects lend: by the buffer protocol, or else by `DLPack`.

use std::{
    borrow::Cow,
    ffi::{CStr, c_void},
    fmt, slice,
};

use pyo3::{
    Bound, Py, PyAny, PyResult,
    types::{PyAnyMethods, PyCapsule},
};
use smallvec::SmallVec;

use crate::{
    buffer::Buffer,
    dlpack,
    errors::{bad_argument, bad_type},
};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Bool,
    Signed,
    Unsigned,
    Float,
    Bfloat,
    /// Something else, such as a structure or numbers in the other byte order.
    Other,
}

/// A type of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: ItemKind,
    pub(crate) bytes: usize,
}

impl Item {
    /// What the buffer protocol calls `format`.
    fn of_format(format: &CStr, bytes: usize) -> Self {
        let format = format.to_bytes();
        // Machines that this runs on are little-endian.
        let format = match format {
            [b'@' | b'=' | b'<', rest @ ..] => rest,
            _ => format,
        };
        let kind = match format {
            [b'?'] => ItemKind::Bool,
            [b'b' | b'h' | b'i' | b'l' | b'q' | b'n'] => ItemKind::Signed,
            [b'c' | b'B' | b'H' | b'I' | b'L' | b'Q' | b'N'] => ItemKind::Unsigned,
            [b'e' | b'f' | b'd'] => ItemKind::Float,
            _ => ItemKind::Other,
        };
        Self { kind, bytes }
    }
}

impl fmt::Display for Item {
    /// The name that NumPy and PyTorch have for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            ItemKind::Bool => return f.write_str("bool"),
            ItemKind::Signed => "int",
            ItemKind::Unsigned => "uint",
            ItemKind::Float => "float",
            ItemKind::Bfloat => "bfloat",
            ItemKind::Other => return write!(f, "items of {} bytes", self.bytes),
        };
        write!(f, "{name}{}", 8 * self.bytes)
    }
}

/// A number for each dimension; more than four are rare enough to be allocated.
pub(crate) type Dimensions<T> = SmallVec<[T; 4]>;

/// An array that a Python object lends as long as this lives.
pub(crate) struct Memory {
    pub(crate) start: *mut c_void,
    pub(crate) item: Item,
    pub(crate) shape: Dimensions<usize>,
    /// Bytes from an item to the next one of each dimension.
    strides: Dimensions<isize>,
    pub(crate) is_read_only: bool,
    /// Releases the memory when dropped.
    _lender: Lender,
}

#[expect(dead_code, reason = "held, not read")]
enum Lender {
    Buffer(Buffer),
    /// It was not taken over, so it frees itself.
    Capsule(Py<PyCapsule>),
}

// SAFETY: it is an address, and nothing is read or written there but by those who say why they may. The lender may be
// sent and shared.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// The memory of `object`, the argument `name`.
    ///
    /// # Errors
    /// An object that lends no memory, or memory that is not the processor's.
    pub(crate) fn of(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        if let Some(buffer) = Buffer::of(object)? {
            return Self::of_buffer(buffer, name);
        }
        if let Some(tensor) = dlpack::Tensor::of(object, name)? {
            return Ok(Self {
                start: tensor.start,
                item: tensor.item,
                shape: tensor.shape,
                strides: tensor.strides,
                is_read_only: tensor.is_read_only,
                _lender: Lender::Capsule(tensor.capsule),
            });
        }
        let found = object.get_type();
        Err(bad_type(format!(
            "`{name}` is of {found}, expected an array, a buffer or a tensor with __dlpack__"
        )))
    }

    fn of_buffer(buffer: Buffer, name: &str) -> PyResult<Self> {
        if buffer.is_indirect() {
            return Err(bad_argument(format!(
                "the memory of `{name}` is reached by pointers, expected an array"
            )));
        }
        let (shape, bytes) = (buffer.shape(), buffer.item_bytes());
        let strides = buffer.strides();
        let strides = strides.or_else(|| touching_strides(&shape, bytes.cast_signed()));
        let too_large = || bad_argument(format!("`{name}` is larger than any memory"));
        Ok(Self {
            start: buffer.start(),
            item: Item::of_format(buffer.format(), bytes),
            shape,
            strides: strides.ok_or_else(too_large)?,
            is_read_only: buffer.is_read_only(),
            _lender: Lender::Buffer(buffer),
        })
    }

    /// Items.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes from one row to the next, if rows are what the last dimension has, items in it touch one another, and rows
    /// are equally far apart; 0 if they touch too.
    pub(crate) fn row_stride(&self) -> Option<usize> {
        if self.len() == 0 {
            return Some(0);
        }
        // Dimensions of one item have any stride.
        let dimensions = self.shape.iter().zip(&self.strides);
        let mut dimensions = dimensions.rev().peekable();
        let bytes = self.item.bytes.cast_signed();
        let row = match dimensions.next() {
            None => return Some(0),
            Some((&len, &stride)) if len == 1 || stride == bytes => len.cast_signed() * bytes,
            Some(_) => return None,
        };
        let mut outer = dimensions.filter(|(len, _)| **len > 1);
        let Some((&len, &row_stride)) = outer.next() else {
            return Some(0);
        };
        if row_stride < row {
            return None;
        }
        let mut extent = row_stride.checked_mul(len.cast_signed())?;
        for (&len, &stride) in outer {
            if stride != extent {
                return None;
            }
            extent = extent.checked_mul(len.cast_signed())?;
        }
        let touches = row_stride == row;
        Some(if touches {
            0
        } else {
            row_stride.unsigned_abs()
        })
    }

    /// The numbers, in the order of the array's indices: where they lie, or copied if they are scattered.
    ///
    /// # Panics
    /// If items are not as large as `T`.
    pub(crate) fn numbers<T: Number>(&self) -> Cow<'_, [T]> {
        assert_eq!(self.item.bytes, size_of::<T>(), "items of another size");
        let len = self.len();
        if len == 0 {
            return Cow::Owned(Vec::new());
        }
        let start = self.start.cast::<T>();
        if self.row_stride() == Some(0) && start.is_aligned() {
            // SAFETY: the lender keeps that many items there, any bytes are numbers, and the interpreter is attached,
            // so no Python code changes them meanwhile.
            return Cow::Borrowed(unsafe { slice::from_raw_parts(start, len) });
        }
        let mut offsets = vec![0_isize];
        for (&len, &stride) in self.shape.iter().zip(&self.strides) {
            let steps = || (0..len).map(|index| stride * index.cast_signed());
            offsets = offsets
                .iter()
                .flat_map(|start| steps().map(move |step| start + step))
                .collect();
        }
        let start = self.start.cast::<u8>();
        // SAFETY: as above, and each offset is that of an item.
        let read = |offset| unsafe { start.offset(offset).cast::<T>().read_unaligned() };
        Cow::Owned(offsets.into_iter().map(read).collect())
    }
}

/// A type of numbers that memory may hold: every pattern of bits is one.
pub(crate) trait Number: Copy {}

impl Number for u8 {}
impl Number for i32 {}
impl Number for u32 {}
impl Number for i64 {}
impl Number for u64 {}

/// The strides of an array whose items touch one another, the last index running fastest.
pub(crate) fn touching_strides(shape: &[usize], item_bytes: isize) -> Option<Dimensions<isize>> {
    let mut strides = SmallVec::from_elem(0, shape.len());
    let mut next = item_bytes;
    for (stride, &len) in strides.iter_mut().zip(shape).rev() {
        *stride = next;
        next = next.checked_mul(len.max(1).try_into().ok()?)?;
    }
    Some(strides)
}
