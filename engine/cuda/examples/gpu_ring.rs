//! Stages rows of a pack through a ring, on the stand-in for a GPU, and compares the values with those of a look-up.
//!
//!     cargo run -p engram-cuda --example gpu_ring

use std::{error::Error, path::Path, sync::Arc};

use engram::{Batch, Config, RowIds, Sequence, Store};
use engram_cuda::{Device, Ring, RingConfig, ValueType};

fn main() -> Result<(), Box<dyn Error>> {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../format-spec/vectors/deepseek");
    let store = Arc::new(Store::open(pack, Config::new())?);
    let (mut sequence, mut row_ids) = (Sequence::new(), RowIds::new());
    let hasher = store.hasher();
    hasher.extend(&mut sequence, &[0, 3, 15], &mut row_ids)?;

    // `Device::cuda(0)` is the first GPU, with the same results.
    let device = Device::host();
    let config = RingConfig::new(row_ids.layer(0).len()).value_type(ValueType::F32);
    let ring = Ring::new(&device, store.clone(), &config)?;
    let stream = device.stream(0)?;
    for (index, layer) in store.scheme().layers.iter().enumerate() {
        let (layer, rows) = (layer.id, row_ids.layer(index));
        let staged = ring.stage(layer, rows)?.ok_or("the ring is full")?;
        let values = staged.read_on(&stream)?;

        let codec = store.codec(layer)?;
        let mut bytes = vec![0; rows.len() * codec.row_bytes()];
        store.lookup(Batch::new(layer, rows), &mut bytes)?;
        assert_eq!(values, ValueType::F32.decode(codec, &bytes));
        println!(
            "layer {layer}: {} rows, {} bytes of values",
            rows.len(),
            values.len()
        );
    }
    Ok(())
}
