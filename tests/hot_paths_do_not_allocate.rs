//! Once buffers have their size, neither hashing nor looking up allocates.

use engram::{Batch, Config, Reader, Request, RowIds, Sequence, Store, ValueType};
use engram_tests::{Fixture, READERS, all_rows, open, sample_tokens, small_families};

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn once_buffers_have_their_size() {
    for (name, _) in small_families() {
        let fixture = Fixture::new(name);
        for reader in READERS {
            let store = open(&fixture.pack(), reader);
            let tokens = sample_tokens(&store);
            let mut sequences = [(); 3].map(|()| Sequence::with_capacity(1_000));
            let mut rows = RowIds::new();
            let layer = store.scheme().layers[0].id;
            let mut bytes = Vec::new();
            let mut step = || {
                let mut requests = sequences.each_mut().map(|sequence| Request {
                    sequence,
                    tokens: &tokens,
                });
                store
                    .hasher()
                    .extend_batch(&mut requests, &mut rows)
                    .unwrap();
                let rows = rows.layer(0);
                bytes.resize(rows.len() * store.codec(layer).unwrap().row_bytes(), 0);
                store.lookup(Batch::new(layer, rows), &mut bytes).unwrap();
            };
            assert!(
                allocations(&mut step) > 0,
                "the first step makes the buffers"
            );
            // The second has a history before it and other rows, as all later ones.
            step();
            assert_eq!(allocations(&mut step), 0, "{name} {reader:?}");
        }
    }
}

#[test]
fn values_tickets_and_the_cache_neither() {
    for (name, _) in small_families() {
        let fixture = Fixture::new(name);
        for (reader, cache_bytes) in READERS
            .map(|reader| (reader, 0))
            .into_iter()
            .chain([(Reader::Direct, 1 << 20), (Reader::DirectThreads, 1 << 20)])
        {
            let config = Config::new().reader(reader).cache_bytes(cache_bytes);
            let store = Store::open(fixture.pack(), config).unwrap();
            let layer = store.scheme().layers[0].id;
            let row_ids = all_rows(&store, 0);
            let batch = Batch::new(layer, &row_ids);
            let mut values = vec![0.0_f32; row_ids.len() * store.codec(layer).unwrap().width()];
            let mut step = || {
                store.lookup_values(batch, &mut values[..]).unwrap();
                let buffer = store.buffer(layer, row_ids.len()).unwrap();
                let bytes = store.submit(batch, buffer).unwrap().wait().unwrap();
                drop(bytes);
                let buffer = store.value_buffer(layer, row_ids.len(), ValueType::Bf16);
                drop(
                    store
                        .submit(batch, buffer.unwrap())
                        .unwrap()
                        .wait()
                        .unwrap(),
                );
            };
            step();
            step();
            assert_eq!(allocations(&mut step), 0, "{name} {reader:?} {cache_bytes}");
        }
    }
}
