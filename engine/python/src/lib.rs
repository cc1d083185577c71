//! The Python package `engram_tables`: the native half of it, `engram_tables._native`.
//!
//! One file for each class. Memory of Python objects becomes addresses in `buffer.rs` and `dlpack.rs`, and rows are put
//! there by `engram-ffi`, as those of C are. Exceptions, progress bars and `await` are in Python, beside this crate.

mod arguments;
mod buffer;
mod commands;
mod dlpack;
mod dtype;
mod errors;
mod memory;
mod new_array;
mod out;
mod packs;
mod row_ids;
mod scheme;
mod sequence;
mod store;
mod ticket;

use pyo3::pymodule;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{
        commands::{run_bench, run_pack},
        packs::{attach, build, convert, verify},
        row_ids::RowIds,
        scheme::{Column, Layer},
        sequence::Sequence,
        store::Store,
        ticket::Ticket,
    };

    #[pymodule_export]
    const DEAD: i64 = -1;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
