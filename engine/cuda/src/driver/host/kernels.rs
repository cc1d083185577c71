//! The kernels' results, by the processor's decoder.

use std::slice;

use engram::{RowCodec, ValueType};

use crate::{
    kernels::{Decode, Gather, Kernel, MappedColumn},
    row_index,
};

/// # Safety
/// All addresses of the call point to live memory of this process, and nobody else uses that at `out`.
pub(super) unsafe fn run(kernel: &Kernel) {
    match kernel {
        // SAFETY: the caller's promise.
        Kernel::Decode(call, codec, value_type) => unsafe { decode(call, *codec, *value_type) },
        // SAFETY: the caller's promise.
        Kernel::Gather(call, codec, value_type) => unsafe { gather(call, *codec, *value_type) },
        #[cfg(feature = "bench")]
        Kernel::Spin(nanoseconds) => {
            std::thread::sleep(std::time::Duration::from_nanos(*nanoseconds));
        }
    }
}

/// # Safety
/// As for [`run`].
unsafe fn decode(call: &Decode, codec: RowCodec, value_type: ValueType) {
    // SAFETY: an address for each row.
    let addresses = unsafe { values::<u64>(call.addresses, call.rows) };
    for (index, &address) in addresses.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { write_row(address, index, call.out, codec, value_type) };
    }
}

/// # Safety
/// As for [`run`].
unsafe fn gather(call: &Gather, codec: RowCodec, value_type: ValueType) {
    // SAFETY: an id for each row.
    let ids = unsafe { values::<u64>(call.ids, call.rows) };
    // SAFETY: so many columns.
    let columns = unsafe { values::<MappedColumn>(call.columns, call.column_count) };
    for (index, &id) in ids.iter().enumerate() {
        // SAFETY: the caller's promise.
        let address = unsafe { find_hot(call, id) }.unwrap_or_else(|| in_column(call, columns, id));
        // SAFETY: the caller's promise.
        unsafe { write_row(address, index, call.out, codec, value_type) };
    }
}

/// # Safety
/// As for [`run`].
unsafe fn find_hot(call: &Gather, id: u64) -> Option<u64> {
    if call.hot_entries == 0 {
        return None;
    }
    // SAFETY: the table has a power of two of entries.
    let entries = unsafe { values::<u64>(call.hot_entries, call.hot_mask + 1) };
    let found = row_index::find(entries, id)?;
    Some(call.hot_rows + found * u64::from(call.hot_stride))
}

fn in_column(call: &Gather, columns: &[MappedColumn], id: u64) -> u64 {
    let next = columns.partition_point(|column| column.first_row <= id);
    let column = columns[next - 1];
    if column.address == 0 {
        return 0;
    }
    let record = id - column.first_row;
    let group_records = u64::from(call.group_records);
    column.address
        + u64::from(call.header_bytes)
        + record / group_records * u64::from(call.group_bytes)
        + record % group_records * u64::from(call.stride)
}

/// # Safety
/// `address` is zero or a row's, `out` has room for the row at `index`.
unsafe fn write_row(address: u64, index: usize, out: u64, codec: RowCodec, value_type: ValueType) {
    let bytes = codec.width() * value_type.bytes();
    let out = (out as *mut u8).wrapping_add(index * bytes);
    if address == 0 {
        // SAFETY: the caller's promise.
        return unsafe { out.write_bytes(0, bytes) };
    }
    // SAFETY: the caller's promise.
    let row = unsafe { slice::from_raw_parts(address as *const u8, codec.row_bytes()) };
    let decoded = value_type.decode(codec, row);
    // SAFETY: the caller's promise; a fresh vector overlaps nothing.
    unsafe { out.copy_from_nonoverlapping(decoded.as_ptr(), bytes) };
}

/// # Safety
/// `count` values lie at `address`, and nobody writes them meanwhile.
unsafe fn values<'a, T>(address: u64, count: u32) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(address as *const T, count as usize) }
}
