//! The buffer protocol.
//!
//! `pyo3::buffer` refuses lenders that leave out shape or strides, as scalars of NumPy's and arrays of ctypes do.

use std::{
    ffi::{CStr, c_void},
    mem::MaybeUninit,
    slice,
};

use pyo3::{Bound, PyAny, PyErr, PyResult, Python, ffi};
use smallvec::SmallVec;

use crate::memory::Dimensions;

/// A buffer that an object lends until this is dropped.
pub(crate) struct Buffer(Box<ffi::Py_buffer>);

// SAFETY: it is a pointer to what an object lends to whoever has the buffer; it is released with the interpreter
// attached.
unsafe impl Send for Buffer {}
// SAFETY: as above; nothing of it changes.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// The buffer of `object`; none if it is no lender of buffers.
    ///
    /// # Errors
    /// An object that will not lend it.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        // SAFETY: the object is alive, and the interpreter is attached.
        if unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } != 1 {
            return Ok(None);
        }
        // It stays where it is, since lenders may keep its address.
        let mut buffer = Box::<MaybeUninit<ffi::Py_buffer>>::new(MaybeUninit::zeroed());
        let place = buffer.as_mut_ptr();
        // SAFETY: as above, and there is room for a buffer.
        let got = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), place, ffi::PyBUF_FULL_RO) };
        if got != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        // SAFETY: the lender has filled it in.
        Ok(Some(Self(unsafe { buffer.assume_init() })))
    }

    pub(crate) fn start(&self) -> *mut c_void {
        self.0.buf
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.0.readonly != 0
    }

    /// Bytes of an item.
    pub(crate) fn item_bytes(&self) -> usize {
        self.0.itemsize.unsigned_abs()
    }

    /// What items are, as the module `struct` writes it.
    pub(crate) fn format(&self) -> &CStr {
        if self.0.format.is_null() {
            return c"B";
        }
        // SAFETY: it is text that lives as long as the buffer.
        unsafe { CStr::from_ptr(self.0.format) }
    }

    /// Whether items are reached by pointers.
    pub(crate) fn is_indirect(&self) -> bool {
        !self.0.suboffsets.is_null()
    }

    pub(crate) fn shape(&self) -> Dimensions<usize> {
        let shape = self.list(self.0.shape);
        if let Some(shape) = shape {
            return shape.iter().map(|len| len.unsigned_abs()).collect();
        }
        // Bytes, or a single item.
        let items = self.0.len / self.0.itemsize.max(1);
        SmallVec::from_elem(items.unsigned_abs(), usize::from(self.0.ndim > 0))
    }

    /// Bytes from an item to the next of each dimension; none where all items touch one another.
    pub(crate) fn strides(&self) -> Option<Dimensions<isize>> {
        self.list(self.0.strides).map(SmallVec::from_slice)
    }

    fn list(&self, list: *const isize) -> Option<&[isize]> {
        let dimensions = usize::try_from(self.0.ndim).ok()?;
        // SAFETY: unless it is left out, it has a number for each dimension.
        (!list.is_null()).then(|| unsafe { slice::from_raw_parts(list, dimensions) })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it was got, and is released once.
        Python::attach(|_| unsafe { ffi::PyBuffer_Release(&raw mut *self.0) });
    }
}
