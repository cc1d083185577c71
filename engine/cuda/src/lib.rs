//! Rows of Engram tables in the memory of a GPU.
//!
//! ```text
//! Store --ticket--> pinned staging buffer --copy--> device rows --decode kernel--> values --> consumer's stream   Ring
//! resident columns, registered <-----------read over the bus------ gather kernel                       MappedColumns
//! hottest rows in device memory <---------------found by---------- either kernel                             HotRows
//! ```
//!
//! A [`Device`] is an NVIDIA GPU, whose driver is loaded when one is asked for, or a stand-in on the host that does the
//! same to the bit. Nothing here needs a toolkit: kernels are compiled already (`kernels/rows.ptx`) and finished by the
//! driver for the GPU at hand.
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
//! let (mut sequence, mut rows) = (Sequence::new(), RowIds::new());
//! store.hasher().extend(&mut sequence, &[0, 3, 15], &mut rows)?;
//!
//! let ring = Ring::new(&device, store.clone(), &RingConfig::new(rows.layer(0).len()))?;
//! let layer = store.scheme().layers[0].id;
//! let staged = ring.stage(layer, rows.layer(0))?.expect("nothing else is on its way");
//!
//! let stream = device.stream(0)?;
//! let (address, outcome) = staged.consume_on(&stream, |port| {
//!     port.address() // ... and here kernels of this stream that read it ...
//! })?;
//! outcome.wait()?;
//! # Ok(())
//! # }
//! ```

mod device;
mod driver;
mod error;
mod gather;
mod hot;
mod kernels;
mod mapped;
mod origin;
mod ring;
mod transfer;
mod unique;

pub use device::{Device, DeviceMemory, Graph, Mark, PinnedMemory, Stream};
pub use error::DeviceError;
pub use gather::Gatherer;
pub use hot::HotRows;
pub use kernels::Output;
pub use mapped::MappedColumns;
pub use ring::{LaneMetrics, Outcome, Port, Ring, RingConfig, Staged};
pub use transfer::Transfer;
