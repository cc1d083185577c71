//! A plain map of edits, against which overlays are held.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses some of it")]

use std::collections::BTreeMap;

use engram::{Batch, LayerId, RowIds, Sequence, Store};
use engram_overlay::{Edits, Key, Shape, Snapshot};

/// What every key serves.
pub(crate) type Map = BTreeMap<(LayerId, Key), Vec<u8>>;

/// Every entry of a snapshot.
pub(crate) fn map_of(snapshot: &Snapshot) -> Map {
    let layers: Vec<LayerId> = snapshot.shape().layers().collect();
    let mut map = Map::new();
    for layer in layers {
        let entries = snapshot.entries(layer).unwrap();
        for (key, rows) in entries {
            assert_eq!(snapshot.get(layer, &key).unwrap(), Some(rows));
            let twice = map.insert((layer, key), rows.to_vec());
            assert!(twice.is_none(), "an entry that is listed twice");
        }
        let counts: usize = snapshot.counts(layer).unwrap().iter().sum();
        assert_eq!(counts, map.keys().filter(|key| key.0 == layer).count());
    }
    map
}

/// Makes a change in both.
pub(crate) fn change(
    edits: &mut Edits,
    map: &mut Map,
    layer: LayerId,
    key: Key,
    rows: Option<Vec<u8>>,
) {
    if let Some(rows) = rows {
        edits.set(layer, key.clone(), rows.clone());
        map.insert((layer, key), rows);
    } else {
        edits.remove(layer, key.clone());
        map.remove(&(layer, key));
    }
}

/// Rows for a key, all of one byte.
pub(crate) fn rows_for(shape: &Shape, layer: LayerId, key: &Key, byte: u8) -> Vec<u8> {
    let rows = match key {
        Key::Row(_) => 1,
        Key::NGram(_) => shape.heads(),
    };
    vec![byte; rows * shape.codec(layer).unwrap().row_bytes()]
}

/// The rows of `tokens` by `store`, in order of the layers, each by a look-up and by a ticket, with n-grams.
pub(crate) fn look_up(store: &Store, tokens: &[u32]) -> Vec<Vec<u8>> {
    let mut row_ids = RowIds::with_ngrams();
    let mut sequence = Sequence::new();
    store
        .hasher()
        .extend(&mut sequence, tokens, &mut row_ids)
        .unwrap();
    let layers = row_ids.batches().map(|batch| {
        let row_bytes = store.codec(batch.layer()).unwrap().row_bytes();
        let mut rows = vec![0; batch.len() * row_bytes];
        store.lookup(batch, &mut rows).unwrap();
        let buffer = store.buffer(batch.layer(), batch.len()).unwrap();
        let ticket = store.submit(batch, buffer).unwrap();
        assert!(*ticket.wait().unwrap() == *rows, "a ticket's rows");
        rows
    });
    layers.collect()
}

/// The same rows by the pack's own (`plain`) and a map of edits.
pub(crate) fn expected(plain: &Store, map: &Map, tokens: &[u32]) -> Vec<Vec<u8>> {
    let mut row_ids = RowIds::with_ngrams();
    let mut sequence = Sequence::new();
    plain
        .hasher()
        .extend(&mut sequence, tokens, &mut row_ids)
        .unwrap();
    let layers = row_ids.batches().map(|batch| {
        let layer = batch.layer();
        let row_bytes = plain.codec(layer).unwrap().row_bytes();
        let mut rows = vec![0; batch.len() * row_bytes];
        plain
            .lookup(Batch::new(layer, batch.row_ids()), &mut rows)
            .unwrap();
        let columns = plain.columns(layer).unwrap();
        for (index, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
            let column = columns[index % columns.len()];
            let ngram = batch.ngrams().unwrap().of_row(index, column.order);
            if let Some(exact) = map.get(&(layer, Key::NGram(ngram.to_vec()))) {
                let start = column.head as usize * row_bytes;
                row.copy_from_slice(&exact[start..start + row_bytes]);
            } else if let Some(edited) = map.get(&(layer, Key::Row(batch.row_ids()[index]))) {
                row.copy_from_slice(edited);
            }
        }
        rows
    });
    layers.collect()
}
