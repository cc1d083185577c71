//! Rows that the caller waits for.

use engram::{Batch, Buffer, Priority, Store, Ticket, ValueType, ValuesMut, bf16, f16};

use crate::{failure::Failure, sparse_batch::SparseBatch, target::Target};

/// Copies or decodes the rows of `batch` to `target`, and waits for those that have to be read. Rows that touch one
/// another come right to their places; with a stride, or in parts, there is a copy between.
///
/// # Errors
/// As [`Store::lookup`]; then all rows are zeros.
pub fn lookup(
    store: &Store,
    batch: &SparseBatch,
    value_type: Option<ValueType>,
    mut target: Target,
) -> Result<(), Failure> {
    let filled = fill(store, batch, value_type, &mut target);
    filled.inspect_err(|_| target.zero())
}

fn fill(
    store: &Store,
    batch: &SparseBatch,
    value_type: Option<ValueType>,
    target: &mut Target,
) -> Result<(), Failure> {
    if let Some(rows) = target.direct() {
        let bytes = batch.rows().len() * rows.row_bytes();
        let out = rows.contiguous().expect("direct rows are one piece");
        answer(
            store,
            batch.rows(),
            batch.priority(),
            value_type,
            &mut out[..bytes],
        )?;
        if let Some(places) = batch.places() {
            rows.spread(places);
        }
        return Ok(());
    }
    let ticket = submit(store, batch, buffer(store, batch, value_type)?)?;
    target.put(&ticket.wait()?, batch.places());
    Ok(())
}

/// Looks rows up to `out`, which is aligned for `value_type`.
fn answer(
    store: &Store,
    batch: Batch<'_>,
    priority: Option<Priority>,
    value_type: Option<ValueType>,
    out: &mut [u8],
) -> Result<(), Failure> {
    let Some(value_type) = value_type else {
        return Ok(match priority {
            None => store.lookup(batch, out),
            Some(priority) => store.at(priority).lookup(batch, out),
        }?);
    };
    let out: ValuesMut<'_> = match value_type {
        ValueType::F32 => bytemuck::cast_slice_mut::<_, f32>(out).into(),
        ValueType::F16 => bytemuck::cast_slice_mut::<_, f16>(out).into(),
        ValueType::Bf16 => bytemuck::cast_slice_mut::<_, bf16>(out).into(),
    };
    Ok(match priority {
        None => store.lookup_values(batch, out),
        Some(priority) => store.at(priority).lookup_values(batch, out),
    }?)
}

/// A buffer of the store's for the rows that `batch` has.
pub(crate) fn buffer(
    store: &Store,
    batch: &SparseBatch,
    value_type: Option<ValueType>,
) -> Result<Buffer, Failure> {
    let (layer, rows) = (batch.layer(), batch.rows().len());
    Ok(match value_type {
        None => store.buffer(layer, rows)?,
        Some(value_type) => store.value_buffer(layer, rows, value_type)?,
    })
}

/// Begins to read the rows that `batch` has into `buffer`.
pub(crate) fn submit(
    store: &Store,
    batch: &SparseBatch,
    buffer: Buffer,
) -> Result<Ticket, Failure> {
    let rows = batch.owned_rows();
    Ok(match batch.priority() {
        None => store.submit_owned(rows, buffer)?,
        Some(priority) => store.at(priority).submit_owned(rows, buffer)?,
    })
}
