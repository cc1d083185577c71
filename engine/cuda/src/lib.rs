//! Rows of Engram tables in the memory of a GPU.
//!
//! ```text
//! Ring:          Store --ticket--> pinned buffer --copy--> device rows --decode kernel--> values --> consumer's stream
//! MappedColumns: resident columns, registered <--read over the bus-- gather kernel
//! HotRows:       hottest rows in device memory <--found by-- either kernel
//! ```
//!
//! A [`Device`] is an NVIDIA GPU, whose driver is loaded when one is asked for, or a stand-in on the host that gives
//! the same results to the bit. No CUDA toolkit is needed: the kernels are kept compiled as PTX (`kernels/rows.ptx`),
//! which the driver finishes for the GPU at hand.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use engram::{Config, RowIds, Sequence, Store};
//! use engram_cuda::{Device, Ring, RingConfig};
//!
//! # let pack = "../../format-spec/vectors/deepseek";
//! let store = Arc::new(Store::open(pack, Config::new())?);
//! let device = Device::cuda(0).unwrap_or_else(|_| Device::host());
//! let (mut sequence, mut row_ids) = (Sequence::new(), RowIds::new());
//! store.hasher().extend(&mut sequence, &[0, 3, 15], &mut row_ids)?;
//!
//! let ring = Ring::new(&device, store.clone(), &RingConfig::new(row_ids.layer(0).len()))?;
//! let layer = store.scheme().layers[0].id;
//! let staged = ring.stage(layer, row_ids.layer(0))?.expect("no other pass is on its way");
//!
//! let stream = device.stream(0)?;
//! let (address, outcome) = staged.consume_on(&stream, |slot| {
//!     slot.address() // ... and here kernels of this stream that read it ...
//! })?;
//! outcome.wait()?;
//! # let _ = address;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/gpu_ring.rs` compares the values with those of [`Store::lookup`](engram::Store::lookup).

#[cfg(feature = "bench")]
mod bench;
mod device;
mod driver;
mod error;
mod event;
mod gatherer;
mod graph;
mod hot_rows;
mod keep_alive;
mod kernels;
mod mapped_columns;
mod memory;
mod owner;
mod ring;
mod row_index;
mod stream;
mod unique_rows;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub use bench::{Stopwatch, Transfer};
pub use device::Device;
pub use engram::ValueType;
pub use error::DeviceError;
pub use gatherer::Gatherer;
pub use graph::Graph;
pub use hot_rows::HotRows;
pub use mapped_columns::MappedColumns;
pub use memory::{DeviceMemory, PinnedMemory};
pub use ring::{LayerMetrics, Outcome, OutputSlot, Ring, RingConfig, Staged};
pub use stream::Stream;
