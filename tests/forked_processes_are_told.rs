//! A process that forks after it has opened a store: the forked one is told so, and never waits for threads that it
//! does not have. The parent notices nothing.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use engram::{Batch, Config, LayerId, LookupError, Reader, RowId, Store, Ticket, ValueType};
use engram_checkpoint::Checkpoint;
use engram_cuda::{Device, Ring, RingConfig};
use engram_pack::attach;
use engram_tests::{
    Fixture, READERS, ReaderBackings, When, all_rows, alone, end, fork, look_up, whole_tables,
};

/// Rows of the first layer, and their bytes.
struct Truth {
    layer: LayerId,
    rows: Vec<RowId>,
    bytes: Vec<u8>,
}

impl Truth {
    fn of(pack: &Path) -> Self {
        let store = Store::open(pack, Config::new().reader(Reader::Memory)).unwrap();
        Self {
            layer: store.scheme().layers[0].id,
            rows: all_rows(&store, 0),
            bytes: whole_tables(&store).remove(0),
        }
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(self.layer, &self.rows)
    }

    fn submit(&self, store: &Store) -> Result<Ticket, LookupError> {
        store.submit(self.batch(), store.buffer(self.layer, self.rows.len())?)
    }

    /// All rows by each call there is.
    fn look_up(&self, store: &Store) -> [Result<(), LookupError>; 4] {
        let mut values = vec![1.0; self.rows.len() * store.codec(self.layer).unwrap().width()];
        let decoded = store.lookup_values(self.batch(), &mut values[..]);
        let zeros = values.iter().all(|value| value.to_bits() == 0);
        assert!(decoded.is_ok() || zeros, "a failed lookup hands out values");
        [
            look_up(store, self.layer, &self.rows).map(|found| assert!(found == self.bytes)),
            decoded,
            self.submit(store)
                .and_then(Ticket::wait)
                .map(|found| assert!(*found == *self.bytes)),
            store.warm(self.batch()),
        ]
    }

    fn is_served(&self, store: &Store) {
        for looked_up in self.look_up(store) {
            looked_up.unwrap();
        }
    }
}

fn assert_forked<T>(answer: Result<T, LookupError>) {
    match answer {
        Err(LookupError::Forked { opened, found }) => {
            let said = LookupError::Forked { opened, found }.to_string();
            assert!(
                said.contains(&format!("opened by process {opened}")),
                "{said}"
            );
            assert!(opened != found && found == std::process::id(), "{said}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("rows of threads that are not there"),
    }
}

#[test]
fn every_reader_answers_at_once() {
    let _alone = alone();
    let fixture = Fixture::new("deepseek");
    let attached = fixture.folder().join("attached");
    attach(
        &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
        &attached,
    )
    .unwrap();
    let truth = Truth::of(&fixture.pack());
    for pack in [fixture.pack(), attached] {
        for (reader, cache_bytes) in READERS
            .iter()
            .flat_map(|reader| [0, 1 << 20].map(|bytes| (*reader, bytes)))
        {
            let case = format!("{}, {reader:?}, {cache_bytes}", pack.display());
            let config = || Config::new().reader(reader).cache_bytes(cache_bytes);
            let fetches = matches!(reader, Reader::Direct | Reader::DirectThreads);
            let store = Store::open(&pack, config()).unwrap();
            truth.is_served(&store);
            let ended = truth.submit(&store).unwrap();
            while !ended.is_done() {
                thread::yield_now();
            }
            let buffer = store.value_buffer(truth.layer, 7, ValueType::F32).unwrap();
            let [waited, dropped, told] = [(); 3].map(|()| truth.submit(&store).unwrap());
            match fork() {
                None => end(|| {
                    if fetches {
                        truth.look_up(&store).into_iter().for_each(assert_forked);
                        let called = Arc::new(AtomicBool::new(false));
                        let calls = called.clone();
                        told.on_done(move || calls.store(true, Ordering::Relaxed));
                        assert!(called.load(Ordering::Relaxed) && told.is_done());
                        assert_forked(told.try_wait().unwrap());
                        assert_forked(waited.wait());
                        assert_forked(ended.wait());
                    } else {
                        truth.is_served(&store);
                        assert!(*waited.wait().unwrap() == *truth.bytes);
                    }
                    drop((dropped, buffer, store.metrics()));
                    drop(store);
                    let own = Store::open(&pack, config()).unwrap();
                    truth.is_served(&own);
                }),
                Some(child) => child.join(&case),
            }
            for ticket in [waited, dropped, told, ended] {
                assert!(*ticket.wait().unwrap() == *truth.bytes, "{case}");
            }
            drop(buffer);
            truth.is_served(&store);
        }
    }
}

#[test]
fn the_parent_goes_on_while_the_forked_process_lives() {
    let _alone = alone();
    let fixture = Fixture::new("deepseek");
    let truth = Truth::of(&fixture.pack());
    for reader in READERS {
        let config = Config::new().reader(reader).cache_bytes(0);
        let store = Store::open(fixture.pack(), config).unwrap();
        let (mut told, mut tells) = std::io::pipe().unwrap();
        let tickets = [(); 8].map(|()| truth.submit(&store).unwrap());
        match fork() {
            None => end(|| {
                drop(tells);
                drop((tickets, store));
                // Ends when the parent closes its side.
                let mut byte = [0];
                assert_eq!(std::io::Read::read(&mut told, &mut byte).unwrap(), 0);
            }),
            Some(child) => {
                for ticket in tickets {
                    assert!(*ticket.wait().unwrap() == *truth.bytes, "{reader:?}");
                }
                truth.is_served(&store);
                drop(store);
                std::io::Write::flush(&mut tells).unwrap();
                drop(tells);
                child.join(&format!("{reader:?}"));
            }
        }
    }
}

#[test]
fn locks_that_other_threads_held_are_left_alone() {
    let _alone = alone();
    let fixture = Fixture::new("demo");
    let truth = Truth::of(&fixture.pack());
    for reader in [Reader::Direct, Reader::DirectThreads, Reader::Mmap] {
        let config = Config::new().reader(reader).cache_bytes(1 << 16);
        let store = Store::open(fixture.pack(), config).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        truth.submit(&store).unwrap().wait().unwrap();
                    }
                });
            }
            for _ in 0..60 {
                let ticket = truth.submit(&store).unwrap();
                match fork() {
                    None => end(|| {
                        let served = truth.look_up(&store);
                        if reader == Reader::Mmap {
                            served.into_iter().for_each(Result::unwrap);
                        } else {
                            served.into_iter().for_each(assert_forked);
                        }
                        drop((ticket, store.metrics()));
                        drop(store.buffer(truth.layer, 100).unwrap());
                    }),
                    Some(child) => child.join(&format!("{reader:?}")),
                }
                assert!(*ticket.wait().unwrap() == *truth.bytes);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn threads_that_seed_and_populate_are_not_waited_for() {
    let _alone = alone();
    let fixture = Fixture::new("deepseek");
    let truth = Truth::of(&fixture.pack());
    let profile = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../format-spec/vectors/profiles/deepseek.profile"
    );
    for _ in 0..10 {
        let config = Config::new().profile(profile);
        let store = Store::open(fixture.pack(), config).unwrap();
        match fork() {
            None => end(|| {
                for _ in 0..2 {
                    let waited = store.wait_seeded();
                    assert!(matches!(waited, Err(LookupError::Forked { .. })));
                }
                drop(store);
            }),
            Some(child) => child.join("seeding"),
        }
        store.wait_seeded().unwrap();
        truth.is_served(&store);
    }
}

#[test]
fn a_backing_of_the_callers_is_not_asked() {
    let _alone = alone();
    let fixture = Fixture::new("deepseek");
    let truth = Truth::of(&fixture.pack());
    let (io, when) = (Arc::new(engram::SystemIo), When::AtOnce);
    let config = Config::new().backing(Arc::new(ReaderBackings { io, when }));
    let store = Store::open(fixture.pack(), config).unwrap();
    truth.is_served(&store);
    match fork() {
        None => end(|| truth.look_up(&store).into_iter().for_each(assert_forked)),
        Some(child) => child.join("own backing"),
    }
    truth.is_served(&store);
}

#[test]
fn a_ring_on_the_stand_in_is_dropped_at_once() {
    let _alone = alone();
    let fixture = Fixture::new("deepseek");
    let truth = Truth::of(&fixture.pack());
    let store = Arc::new(Store::open(fixture.pack(), Config::new()).unwrap());
    let ring = Ring::new(&Device::host(), store.clone(), &RingConfig::new(64)).unwrap();
    match fork() {
        None => end(|| drop((ring, store))),
        Some(child) => child.join("ring"),
    }
    drop(ring);
    truth.is_served(&store);
}
