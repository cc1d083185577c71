//! Errors of devices, rings and gathers.

use std::io;

use engram::{LayerId, LookupError, RowId, ValueType};
use thiserror::Error;

/// Why a device cannot be used, or a request was refused or failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No driver for NVIDIA's GPUs is installed.
    #[error("cannot load the NVIDIA driver library {library}")]
    NoDriver {
        /// The library that was looked for.
        library: &'static str,
    },
    /// The driver is too old.
    #[error(
        "the NVIDIA driver supports CUDA {}.{}, expected {}.{} or later",
        .found / 1000, .found % 1000 / 10, .expected / 1000, .expected % 1000 / 10
    )]
    OldDriver {
        /// The CUDA version of the driver: 1,000 times the major number plus 10 times the minor one.
        found: i32,
        /// The oldest version that will do.
        expected: i32,
    },
    /// There is no such device.
    #[error("there is no CUDA device {ordinal}: the driver has {count} devices, counted from 0")]
    NoDevice {
        /// The number asked for.
        ordinal: u32,
        /// How many devices there are.
        count: u32,
    },
    /// The device has no unified address space with the host.
    #[error("{device} cannot read host memory by its host address")]
    NoUnifiedAddresses {
        /// Name of the device.
        device: String,
    },
    /// Streams of the device cannot wait for a word of memory, as a ring needs.
    #[error("streams of {device} cannot wait for 64-bit words of memory, which a ring needs")]
    NoStreamWaits {
        /// Name of the device.
        device: String,
    },
    /// The device cannot register memory that is mapped read-only.
    #[error(
        "{device} cannot read host memory that is mapped read-only; load the columns for this process alone, \
         without `Config::resident_folder`"
    )]
    NoReadOnlyMemory {
        /// Name of the device.
        device: String,
    },
    /// A stream was given memory, a graph or a pass of another [`Device`](crate::Device).
    #[error("the stream belongs to another `Device` than what it is to use")]
    OtherDevice,
    /// A stream of cudarc is in another context than the device.
    #[error("the cudarc stream belongs to another CUDA context than the device")]
    OtherContext,
    /// A slice of cudarc belongs to another stream than the one that copies to it.
    #[error("the slice belongs to another stream than the one that copies to it")]
    OtherStream,
    /// Hot rows or mapped columns were made for another device, open store or layer.
    #[error("the {what} belong to another {owner}")]
    OtherOwner {
        /// `hot rows` or `mapped columns`.
        what: &'static str,
        /// `device`, `open store` or `layer`.
        owner: &'static str,
    },
    /// A graph that is being captured cannot repeat this.
    #[error("the stream is being captured, and a graph cannot repeat this")]
    Captured,
    /// An earlier failure has left the layer unusable.
    #[error(
        "layer {layer} takes no more passes: a call of the driver failed half-way, or a thread panicked"
    )]
    Ended {
        /// The layer.
        layer: LayerId,
    },
    /// A call of the driver failed.
    #[error("{call} failed: {message}")]
    Call {
        /// The driver's function.
        call: &'static str,
        /// What the driver says.
        message: String,
    },
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// Memory could not be allocated.
    #[error("cannot allocate {bytes} bytes of {kind} memory")]
    NoMemory {
        /// `device` or `pinned host`.
        kind: &'static str,
        /// Bytes asked for.
        bytes: usize,
    },
    /// No bytes of memory were asked for.
    #[error("cannot allocate 0 bytes, expected 1 or more")]
    EmptyMemory,
    /// A ring or gatherer was to be made for passes without rows.
    #[error("`max_rows` is 0, expected 1 or more")]
    ZeroMaxRows,
    /// A ring was to be made without slots.
    #[error("`depth` is 0, expected 1 or more passes at a time")]
    ZeroDepth,
    /// A ring or gatherer was to be made for more rows than a kernel can decode at once.
    #[error("`max_rows` is {found}, expected at most {max} for this layer")]
    MaxRowsTooLarge {
        /// The value.
        found: usize,
        /// The largest one for this layer, whose values 2^32 threads can decode.
        max: usize,
    },
    /// A pass has more rows than its ring or gatherer was made for.
    #[error("the pass has {found} rows, expected at most {max}")]
    TooManyRows {
        /// Rows of the pass.
        found: usize,
        /// `max_rows` of the ring or gatherer.
        max: usize,
    },
    /// No hot rows were named.
    #[error("no rows are wanted as hot rows, expected 1 or more")]
    NoHotRows,
    /// Hot rows of a store whose rows change: the copies on the device would not.
    #[error(
        "layer {layer} has rows that a tier of the caller's changes, which hot rows would not follow"
    )]
    RowsChange {
        /// The layer.
        layer: LayerId,
    },
    /// A budget has no room for a hot row.
    #[error(
        "{found} bytes of device memory are too few for hot rows: one row and its index take {expected}"
    )]
    SmallHotBudget {
        /// The budget, in bytes.
        found: usize,
        /// Bytes of one row and the table that finds it.
        expected: usize,
    },
    /// A budget has room for more hot rows than kernels can address.
    #[error("{found} hot rows fit in the given memory, expected fewer than {limit}")]
    TooManyHotRows {
        /// Rows that fit.
        found: usize,
        /// More than the most that there can be.
        limit: usize,
    },
    /// A row id is too large for the table that finds hot rows.
    #[error("row {} cannot be a hot row, expected a row id less than {limit}", .row.0)]
    HotRowIdTooLarge {
        /// The row.
        row: RowId,
        /// More than the largest id that there can be.
        limit: u64,
    },
    /// The store has no column of the layer in memory.
    #[error("layer {layer} has no column in memory to map; open the store with `Config::resident`")]
    NoResidentColumns {
        /// The layer.
        layer: LayerId,
    },
    /// A column has more rows than kernels can address.
    #[error("column {column} of layer {layer} has {found} rows, expected fewer than {limit}")]
    ColumnTooLong {
        /// The layer.
        layer: LayerId,
        /// Index of the column.
        column: u32,
        /// Its rows.
        found: u64,
        /// More than the most that there can be.
        limit: u64,
    },
    /// A gatherer needs all columns of the layer.
    #[error("{found} columns of layer {layer} are mapped, expected all {expected}")]
    NotAllMapped {
        /// The layer.
        layer: LayerId,
        /// Columns that are mapped.
        found: usize,
        /// Columns of the layer.
        expected: usize,
    },
    /// The device has not read the row ids of the pass before, which is in another stream.
    #[error("the pass before has not begun; synchronize the stream it was put in")]
    GathererBusy,
    /// A copy is longer than its source.
    #[error("cannot copy {found} bytes: the source has {max}")]
    CopyTooLong {
        /// Bytes to copy.
        found: usize,
        /// Bytes of the source.
        max: usize,
    },
    /// Values have another type than their destination.
    #[error("the values are {found:?}, expected {expected:?}")]
    OtherValueType {
        /// Type of the values.
        found: ValueType,
        /// Type of the destination.
        expected: ValueType,
    },
    /// Rows cannot be had from the store.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}
