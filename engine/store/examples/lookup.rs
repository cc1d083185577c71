//! Looks up the rows of three tokens and decodes them.

use engram::{Batch, Config, RowIds, Sequence, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pack = std::env::args()
        .nth(1)
        .unwrap_or("format-spec/vectors/deepseek".into());
    let store = Store::open(pack, Config::new())?;

    // Row ids depend on token ids alone: hash them before the model runs its first layer.
    let (mut sequence, mut rows) = (Sequence::new(), RowIds::new());
    store
        .hasher()
        .extend(&mut sequence, &[0, 3, 15], &mut rows)?;

    for (index, layer) in store.scheme().layers.iter().enumerate() {
        let (codec, rows) = (store.codec(layer.id)?, rows.layer(index));
        let mut bytes = vec![0; rows.len() * codec.row_bytes()];
        store.lookup(Batch::new(layer.id, rows), &mut bytes)?;

        let mut values = vec![0.0; rows.len() * codec.width()]; // [token][column][value]
        codec.decode_f32(&bytes, &mut values);
        println!(
            "layer {}: {} rows, first value {}",
            layer.id,
            rows.len(),
            values[0]
        );
    }
    Ok(())
}
