//! What callers pass for rows and tokens.

use std::cell::Cell;

use engram::{LayerId, Priority};
use engram_ffi::SparseBatch;
use pyo3::{
    Bound, PyAny, PyResult,
    types::{PyAnyMethods, PyList, PyTuple},
};

use smallvec::smallvec;

use crate::{
    errors::{bad_argument, bad_type, raise},
    memory::{Dimensions, Item, ItemKind, Memory},
    row_ids::RowIds,
};

thread_local! {
    static BATCH: Cell<SparseBatch> = Cell::default();
}

/// Rows that the batch of a thread keeps memory for at most.
const MAX_KEPT_ROWS: usize = 1 << 20;

/// Lets `run` use the batch of this thread, with its memory of earlier calls.
pub(crate) fn with_batch<R>(run: impl FnOnce(&mut SparseBatch) -> R) -> R {
    // Taken, not borrowed: code of Python's that runs meanwhile may look rows up too.
    let mut batch = BATCH.take();
    let result = run(&mut batch);
    if batch.len() <= MAX_KEPT_ROWS {
        BATCH.set(batch);
    }
    result
}

/// Sets `batch` to the argument `rows`. Returns the shape of its places.
///
/// # Errors
/// Something that is no row ids, or of other layers.
pub(crate) fn set_rows(
    batch: &mut SparseBatch,
    layer: LayerId,
    rows: &Bound<'_, PyAny>,
) -> PyResult<Dimensions<usize>> {
    if let Ok(hashed) = rows.cast::<RowIds>() {
        let hashed = &hashed.get().ids;
        let set = batch.set_hashed(hashed, layer, 0, hashed.columns());
        set.map_err(raise)?;
        return Ok(smallvec![hashed.positions(), hashed.columns()]);
    }
    if let Some(list) = list_of(rows)? {
        let set = batch.set(layer, list.iter().copied());
        set.map_err(raise)?;
        return Ok(smallvec![list.len()]);
    }
    let memory = Memory::of(rows, "rows")?;
    let set = match memory.item {
        I32 => batch.set(layer, memory.numbers::<i32>().iter().copied()),
        I64 => batch.set(layer, memory.numbers::<i64>().iter().copied()),
        U64 => batch.set(layer, memory.numbers::<u64>().iter().copied()),
        item => {
            return Err(bad_type(format!(
                "`rows` has {item}, expected int32, int64 or uint64"
            )));
        }
    };
    set.map_err(raise)?;
    Ok(memory.shape)
}

const fn item(kind: ItemKind, bytes: usize) -> Item {
    Item { kind, bytes }
}

const I32: Item = item(ItemKind::Signed, 4);
const I64: Item = item(ItemKind::Signed, 8);
const U32: Item = item(ItemKind::Unsigned, 4);
const U64: Item = item(ItemKind::Unsigned, 8);

/// The numbers of a list or tuple of Python's.
fn list_of(object: &Bound<'_, PyAny>) -> PyResult<Option<Vec<i64>>> {
    if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
        return Ok(None);
    }
    let list = object.extract();
    list.map(Some)
        .map_err(|error| bad_type(format!("a list of numbers: {error}")))
}

/// Token ids, and the shape that they had.
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) shape: Dimensions<usize>,
}

impl Tokens {
    /// The argument `name`: token ids, in which -1 is a dead position.
    ///
    /// # Errors
    /// Something else, or numbers that no token is.
    pub(crate) fn of(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        if let Some(list) = list_of(object)? {
            let ids = of_signed(&list, name)?;
            return Ok(Self {
                shape: smallvec![ids.len()],
                ids,
            });
        }
        let memory = Memory::of(object, name)?;
        let ids = match memory.item {
            I32 => of_signed(&memory.numbers::<i32>(), name)?,
            I64 => of_signed(&memory.numbers::<i64>(), name)?,
            U32 => memory.numbers::<u32>().into_owned(),
            item => {
                return Err(bad_type(format!(
                    "`{name}` has {item}, expected int32, int64 or uint32"
                )));
            }
        };
        Ok(Self {
            ids,
            shape: memory.shape,
        })
    }
}

/// Token ids of signed numbers; -1 becomes [`engram::DEAD`].
fn of_signed<T: Copy + Into<i64>>(numbers: &[T], name: &str) -> PyResult<Vec<u32>> {
    let ids = numbers.iter().enumerate().map(|(index, &number)| {
        let number = number.into();
        if number == -1 {
            return Ok(engram::DEAD);
        }
        u32::try_from(number).map_err(|_| {
            bad_argument(format!(
                "`{name}` has {number} at index {index}, expected a token id or -1 (a dead position)"
            ))
        })
    });
    ids.collect()
}

/// The argument `blocked`: one truth value for each token of `shape`.
///
/// # Errors
/// Something else.
pub(crate) fn mask(object: &Bound<'_, PyAny>, shape: &[usize]) -> PyResult<Vec<bool>> {
    let memory = Memory::of(object, "blocked")?;
    if memory.item.bytes != 1 || memory.item.kind == ItemKind::Other {
        return Err(bad_type(format!(
            "`blocked` has {}, expected bool or uint8",
            memory.item
        )));
    }
    if memory.shape[..] != *shape {
        return Err(bad_argument(format!(
            "`blocked` has the shape {:?}, expected {shape:?} as the windows",
            memory.shape
        )));
    }
    Ok(memory.numbers::<u8>().iter().map(|&is| is != 0).collect())
}

/// The argument `priority`.
///
/// # Errors
/// Another name.
pub(crate) fn priority(name: Option<&str>) -> PyResult<Option<Priority>> {
    let Some(name) = name else {
        return Ok(None);
    };
    let priority = Priority::ALL
        .into_iter()
        .find(|priority| priority.to_string() == name);
    let priority = priority.ok_or_else(|| {
        bad_argument(format!(
            "`priority` is {name:?}, expected \"decode\", \"prefill\" or \"warm\""
        ))
    });
    priority.map(Some)
}
