//! Looks up the rows of three tokens, decoded to `f32`.

use engram::{Config, RowIds, Sequence, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pack = std::env::args().nth(1);
    let pack = pack.unwrap_or("format-spec/vectors/deepseek".into());
    let store = Store::open(pack, Config::new())?;

    // Row ids depend on token ids alone: hash them before the model runs its first layer.
    let (mut sequence, mut row_ids) = (Sequence::new(), RowIds::new());
    let hasher = store.hasher();
    hasher.extend(&mut sequence, &[0, 3, 15], &mut row_ids)?;

    for batch in row_ids.batches() {
        let (layer, rows) = (batch.layer(), batch.len());
        let mut values = vec![0.0_f32; rows * store.codec(layer)?.width()]; // [token][column][value]
        store.lookup_values(batch, &mut values[..])?;
        println!("layer {layer}: {rows} rows, first value {}", values[0]);
    }
    Ok(())
}
