//! Tensors by `DLPack`, the protocol of `__dlpack__`.
//!
//! The structures are those of `dlpack.h` 1.0. A capsule is only looked into and kept, never taken over, so that its
//! own destructor frees the tensor.

use std::{
    ffi::{CStr, c_void},
    slice,
};

use pyo3::{
    Bound, Py, PyAny, PyResult, intern,
    types::{PyAnyMethods, PyCapsule, PyCapsuleMethods, PyDict, PyDictMethods},
};

use crate::{
    errors::{bad_argument, bad_type},
    memory::{Dimensions, Item, ItemKind, touching_strides},
};

const UNVERSIONED: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

/// Memory of the processor: its own, or pinned for CUDA or `ROCm`.
const HOST_DEVICES: [i32; 3] = [1, 3, 11];
/// The dimensions that any library's tensors have at most.
const MAX_DIMENSIONS: i32 = 64;
const READ_ONLY: u64 = 1;

#[repr(C)]
struct DlDevice {
    device_type: i32,
    device_id: i32,
}

#[repr(C)]
struct DlDataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: DlDevice,
    ndim: i32,
    dtype: DlDataType,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

#[repr(C)]
struct DlManagedTensorVersioned {
    major: u32,
    minor: u32,
    manager_ctx: *mut c_void,
    deleter: *mut c_void,
    flags: u64,
    tensor: DlTensor,
}

/// A tensor in memory of the processor.
pub(crate) struct Tensor {
    pub(crate) start: *mut c_void,
    pub(crate) item: Item,
    pub(crate) shape: Dimensions<usize>,
    /// In bytes.
    pub(crate) strides: Dimensions<isize>,
    pub(crate) is_read_only: bool,
    /// Frees the tensor when dropped.
    pub(crate) capsule: Py<PyCapsule>,
}

impl Tensor {
    /// The tensor of `object`, the argument `name`, if it has `__dlpack__`.
    ///
    /// # Errors
    /// A tensor of another device, of types that `DLPack` has no name for, or that will not be lent.
    pub(crate) fn of(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Self>> {
        let py = object.py();
        let Ok(export) = object.getattr(intern!(py, "__dlpack__")) else {
            return Ok(None);
        };
        let device = object.call_method0(intern!(py, "__dlpack_device__"))?;
        let (device, _): (i32, i32) = device.extract()?;
        if !HOST_DEVICES.contains(&device) {
            return Err(bad_argument(format!(
                "`{name}` is a tensor of DLPack device {device}, expected one in the processor's memory"
            )));
        }
        let newest = PyDict::new(py);
        newest.set_item(intern!(py, "max_version"), (1_u32, 0_u32))?;
        // Libraries from before version 1.0 know no `max_version`.
        let capsule = match export.call((), Some(&newest)) {
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyTypeError>(py) => {
                export.call0()?
            }
            exported => exported?,
        };
        let capsule = capsule.cast_into::<PyCapsule>()?;
        Self::of_capsule(&capsule, name).map(Some)
    }

    fn of_capsule(capsule: &Bound<'_, PyCapsule>, name: &str) -> PyResult<Self> {
        let (tensor, is_read_only) = if capsule.is_valid_checked(Some(VERSIONED)) {
            let managed = capsule.pointer_checked(Some(VERSIONED))?;
            // SAFETY: a capsule of this name has this structure, of which the version comes first.
            let managed = unsafe { managed.cast::<DlManagedTensorVersioned>().as_ref() };
            if managed.major != 1 {
                return Err(bad_type(format!(
                    "`{name}` is a tensor of DLPack {}.{}, expected 1",
                    managed.major, managed.minor
                )));
            }
            (&managed.tensor, managed.flags & READ_ONLY != 0)
        } else {
            let managed = capsule.pointer_checked(Some(UNVERSIONED))?;
            // SAFETY: a capsule of this name has a structure that begins with the tensor.
            (unsafe { managed.cast::<DlTensor>().as_ref() }, false)
        };
        let (start, item, shape, strides) = read(tensor, name)?;
        Ok(Self {
            start,
            item,
            shape,
            strides,
            is_read_only,
            capsule: capsule.clone().unbind(),
        })
    }
}

type Parts = (*mut c_void, Item, Dimensions<usize>, Dimensions<isize>);

fn read(tensor: &DlTensor, name: &str) -> PyResult<Parts> {
    let dtype = &tensor.dtype;
    let kind = match (dtype.code, dtype.lanes) {
        (0, 1) => ItemKind::Signed,
        (1, 1) => ItemKind::Unsigned,
        (2, 1) => ItemKind::Float,
        (4, 1) => ItemKind::Bfloat,
        (6, 1) => ItemKind::Bool,
        _ => ItemKind::Other,
    };
    let bits = usize::from(dtype.bits) * usize::from(dtype.lanes);
    if bits == 0 || !bits.is_multiple_of(8) {
        return Err(bad_type(format!(
            "`{name}` has items of {bits} bits, expected whole bytes"
        )));
    }
    let item = Item {
        kind,
        bytes: bits / 8,
    };
    let dimensions = usize::try_from(tensor.ndim);
    let dimensions = dimensions.ok().filter(|_| tensor.ndim <= MAX_DIMENSIONS);
    let dimensions = dimensions.ok_or_else(|| {
        bad_argument(format!(
            "`{name}` is a tensor of {} dimensions",
            tensor.ndim
        ))
    })?;
    // SAFETY: a tensor has that many extents, and as many strides unless there are none. Where it has no dimension,
    // neither is looked at.
    let list = |list: *const i64| unsafe {
        (dimensions > 0 && !list.is_null()).then(|| slice::from_raw_parts(list, dimensions))
    };
    let too_large = || bad_argument(format!("`{name}` is larger than any memory"));
    let shape: Result<Dimensions<usize>, _> = list(tensor.shape)
        .unwrap_or_default()
        .iter()
        .map(|&len| usize::try_from(len))
        .collect();
    let shape = shape.map_err(|_| too_large())?;
    let bytes = item.bytes.cast_signed();
    let strides = if let Some(strides) = list(tensor.strides) {
        let strides = strides
            .iter()
            .map(|&stride| isize::try_from(stride).ok()?.checked_mul(bytes));
        strides.collect::<Option<Dimensions<_>>>()
    } else {
        touching_strides(&shape, bytes)
    };
    let strides = strides.ok_or_else(too_large)?;
    let offset = usize::try_from(tensor.byte_offset).map_err(|_| too_large())?;
    let start = tensor.data.cast::<u8>().wrapping_add(offset).cast();
    Ok((start, item, shape, strides))
}
