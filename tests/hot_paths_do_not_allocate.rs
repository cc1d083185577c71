//! Once buffers have their size, neither hashing nor looking up allocates.

use engram::{Batch, Request, RowIds, Sequence};
use engram_tests::{Fixture, READERS, open, sample_tokens, small_families};

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
