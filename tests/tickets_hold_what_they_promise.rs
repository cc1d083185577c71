//! Tickets: many at a time, dropped, cancelled and failing, from many threads.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{fs::OpenOptions, os::unix::fs::FileExt};

use engram::{Batch, Config, LayerId, LookupError, Reader, RowId, Store};
use engram_checkpoint::Checkpoint;
use engram_pack::attach;
use engram_tests::{Fixture, READERS, all_rows, look_up, open, small_families, whole_tables};
use proptest::prelude::*;

/// Readers that read ahead of the caller.
const DIRECT: [Reader; 2] = [Reader::Direct, Reader::DirectThreads];

/// Some rows of a table, in the order of a simple generator.
fn some_rows(rows: &[RowId], count: usize, seed: u64) -> Vec<RowId> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        rows[usize::try_from(state >> 33).unwrap() % rows.len()]
    };
    (0..count).map(|_| next()).collect()
}

fn expected(table: &[u8], row_bytes: usize, rows: &[RowId]) -> Vec<u8> {
    let row = |row: &RowId| {
        let start = usize::try_from(row.0).unwrap() * row_bytes;
        &table[start..start + row_bytes]
    };
    rows.iter().flat_map(row).copied().collect()
}

#[test]
fn many_in_flight_bring_what_a_lookup_brings() {
    for (name, _) in small_families() {
        let fixture = Fixture::new(name);
        let attached = fixture.folder().join("attached");
        let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
        attach(&checkpoint, &attached).unwrap();
        let table = whole_tables(&open(&fixture.pack(), Reader::Memory)).remove(0);
        for (pack, reader) in [fixture.pack(), attached]
            .iter()
            .flat_map(|pack| READERS.map(|reader| (pack, reader)))
        {
            let store = open(pack, reader);
            let layer = store.scheme().layers[0].id;
            let row_bytes = store.codec(layer).unwrap().row_bytes();
            let rows = all_rows(&store, 0);
            let batches: Vec<_> = (0..50)
                .map(|seed| some_rows(&rows, usize::try_from(seed).unwrap() * 3, seed))
                .collect();
            let tickets: Vec<_> = batches
                .iter()
                .map(|rows| {
                    let buffer = store.buffer(layer, rows.len()).unwrap();
                    store.submit(Batch::new(layer, rows), buffer).unwrap()
                })
                .collect();
            for (ticket, rows) in tickets.into_iter().zip(&batches).rev() {
                let found = ticket.wait().unwrap();
                assert!(
                    *found == *expected(&table, row_bytes, rows),
                    "{name} {reader:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_batch_reads_alike(picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..200)) {
        let fixture = Fixture::new("deepseek");
        let memory = open(&fixture.pack(), Reader::Memory);
        let rows = all_rows(&memory, 0);
        let rows: Vec<RowId> = picks.iter().map(|pick| rows[pick.index(rows.len())]).collect();
        let expected = look_up(&memory, LayerId(1), &rows).unwrap();
        for reader in READERS {
            let store = open(&fixture.pack(), reader);
            prop_assert!(look_up(&store, LayerId(1), &rows).unwrap() == expected, "{:?}", reader);
        }
    }
}

#[test]
fn dropped_and_cancelled_tickets_leave_the_others_right() {
    let fixture = Fixture::new("demo");
    for reader in DIRECT {
        let store = open(&fixture.pack(), reader);
        let layer = store.scheme().layers[0].id;
        let row_bytes = store.codec(layer).unwrap().row_bytes();
        let rows = all_rows(&store, 0);
        let table = whole_tables(&open(&fixture.pack(), Reader::Memory)).remove(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (store, rows, table) = (&store, &rows, &table);
                scope.spawn(move || {
                    for round in 0..200_u64 {
                        let batch = some_rows(rows, 40, thread * 1_000 + round);
                        let buffer = store.buffer(layer, batch.len()).unwrap();
                        let ticket = store.submit(Batch::new(layer, &batch), buffer).unwrap();
                        match round % 4 {
                            0 => drop(ticket),
                            1 => ticket.cancel(),
                            2 => {
                                let found = ticket.wait().unwrap();
                                assert!(*found == *expected(table, row_bytes, &batch));
                            }
                            _ => {
                                let mut waiting = Err(ticket);
                                while let Err(ticket) = waiting {
                                    std::thread::yield_now();
                                    waiting = ticket.try_wait();
                                }
                                let found = waiting.unwrap().unwrap();
                                assert!(*found == *expected(table, row_bytes, &batch));
                            }
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn a_store_that_closes_finishes_what_was_submitted() {
    let fixture = Fixture::new("longcat");
    for reader in DIRECT {
        let store = open(&fixture.pack(), reader);
        let layer = store.scheme().layers[0].id;
        let rows = all_rows(&store, 0);
        let whole = whole_tables(&store).remove(0);
        let buffer = store.buffer(layer, rows.len()).unwrap();
        let ticket = store.submit(Batch::new(layer, &rows), buffer).unwrap();
        drop(store);
        assert!(*ticket.wait().unwrap() == *whole);
    }
}

#[test]
fn an_error_fails_its_ticket_alone_and_names_the_rows() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.pack().join("layer-01/order-2-head-1.shard");
    for reader in DIRECT {
        let store = open(&fixture.pack(), reader);
        let submit = |rows: &[RowId]| {
            let buffer = store.buffer(LayerId(1), rows.len()).unwrap();
            store.submit(Batch::new(LayerId(1), rows), buffer).unwrap()
        };
        // Rows 23 to 51 are those of the second column; its records are cut off under the open store.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut sound = [0; 4_096];
        file.read_exact_at(&mut sound, 4_096).unwrap();
        file.set_len(4_096).unwrap();
        let bad = submit(&[RowId(0), RowId(30), RowId(23), RowId(30), RowId(60)]);
        let good = submit(&[RowId(0), RowId(60)]);
        good.wait().unwrap();
        match bad.wait().unwrap_err() {
            LookupError::Unread { layer, rows, cause } => {
                assert_eq!((layer, rows), (LayerId(1), vec![RowId(23), RowId(30)]));
                assert!(
                    cause.to_string().contains("order-2-head-1.shard"),
                    "{cause}"
                );
            }
            other => panic!("{other}"),
        }
        let mut out = [1; 2 * 66];
        let batch = Batch::new(LayerId(1), &[RowId(0), RowId(30)]);
        assert!(store.lookup(batch, &mut out).is_err());
        assert!(out.iter().all(|&byte| byte == 0));
        file.write_all_at(&sound, 4_096).unwrap();
        submit(&[RowId(30)]).wait().unwrap();
    }
}

#[test]
fn what_was_chosen_is_told() {
    let fixture = Fixture::new("deepseek");
    let said = |config| {
        Store::open(fixture.pack(), config)
            .unwrap()
            .backend()
            .to_string()
    };
    assert_eq!(said(Config::new().reader(Reader::Memory)), "memory");
    let threads = said(Config::new().reader(Reader::DirectThreads).io(3, 1));
    assert!(threads.starts_with("pread, 3 threads"), "{threads}");
    let direct = said(Config::new().reader(Reader::Direct).io(2, 8));
    assert!(
        direct.starts_with("io_uring") || direct.starts_with("pread"),
        "{direct}"
    );
}
