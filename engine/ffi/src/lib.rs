//! What callers in other languages need of the engine beyond `engram`: batches with places that have no row, rows into
//! memory of the caller's with a stride, tickets on such memory, and errors by kind.
//!
//! The C interface (`engram-capi`) and the Python package (`engram-python`) say the same by these types, each in the
//! words of its language. A Rust program needs none of them.
//!
//! `unsafe` is where memory of the caller's becomes slices (`caller_rows.rs`) or is lent to a ticket
//! (`destination.rs`).

mod caller_rows;
mod destination;
mod error_kind;
mod failure;
mod lookup;
mod sparse_batch;
mod target;
mod ticket;
mod values;

pub use caller_rows::Memory;
pub use error_kind::ErrorKind;
pub use failure::Failure;
pub use lookup::lookup;
pub use sparse_batch::{RowNumber, SparseBatch};
pub use target::Target;
pub use ticket::LentTicket;
pub use values::row_bytes;
