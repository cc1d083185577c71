//! Large batches keep neither other tickets nor their own callers.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use engram::{
    Batch, Config, LayerId, LookupError, OwnedBatch, Priority, Reader, RowId, RowIds, RowsMut,
    Sequence, Store, Ticket, Tier, ValueType, Wanted,
};
use engram_checkpoint::{Checkpoint, DemoConfig, Family};
use engram_cuda::{Device, Ring, RingConfig};
use engram_pack::attach;
use engram_tests::{
    Fixture, GatedIo, READERS, ReaderBackings, When, all_rows, format_spec, look_up,
    make_checkpoint, make_pack, sample_tokens,
};
use tempfile::TempDir;

/// Rows that are a read each: none fits beside another.
fn long_rows() -> Family {
    Family::Demo(DemoConfig {
        layers: vec![0],
        bucket_starts: vec![150],
        heads: 2,
        order_width: 2 * 4_400,
        pad: 2,
        seed: 0,
        kernel_size: 4,
        hidden_size: 32,
        hc_mult: 2,
    })
}

/// A pack of such rows, and the folder that it lies in as long as that lives.
fn long_pack() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let [checkpoint, pack] = ["checkpoint", "pack"].map(|name| folder.path().join(name));
    make_checkpoint(&long_rows(), 1, &checkpoint);
    make_pack(&checkpoint, &pack);
    (folder, pack)
}

fn submit(store: &Store, priority: Priority, rows: &[RowId]) -> Ticket {
    let layer = store.scheme().layers[0].id;
    let buffer = store.buffer(layer, rows.len()).unwrap();
    let batch = Batch::new(layer, rows);
    store.at(priority).submit(batch, buffer).unwrap()
}

/// Lets reads through until `ticket` is done, and counts them.
fn reads_until_done(io: &GatedIo, ticket: Ticket) -> usize {
    let mut reads = 0;
    while !ticket.is_done() {
        io.let_through();
        reads += 1;
    }
    ticket.wait().unwrap();
    reads
}

#[test]
fn a_token_waits_for_the_reads_in_flight_and_its_own() {
    let (_folder, pack) = long_pack();
    for (reader, in_flight) in [(Reader::Direct, 8), (Reader::DirectThreads, 1)] {
        let io = GatedIo::default();
        let config = Config::new().reader(reader).io(1, 8).cache_bytes(0);
        let store = Store::open(&pack, config.file_access(Arc::new(io.clone()))).unwrap();
        let rows = all_rows(&store, 0);
        assert!(rows.len() > 300);
        // A prompt, whose first reads are in flight.
        let prompt = submit(&store, Priority::Prefill, &rows[10..]);
        io.wait_until_begun(in_flight);
        let warm = submit(&store, Priority::Warm, &rows[10..]);
        let token = submit(&store, Priority::Decode, &rows[..5]);
        let reads = reads_until_done(&io, token);
        assert!(
            (5..=in_flight + 5).contains(&reads),
            "{reads} reads with {in_flight} in flight, {reader:?}"
        );
        // Nor does it matter how many others have asked before.
        let prompts: Vec<_> = (0..20)
            .map(|_| submit(&store, Priority::Prefill, &rows[10..]))
            .collect();
        let token = submit(&store, Priority::Decode, &rows[..5]);
        let reads = reads_until_done(&io, token);
        assert!(reads <= in_flight + 5, "{reads} reads, {reader:?}");
        // Who is cancelled takes back what has not begun.
        let begun = io.begun();
        prompts.into_iter().for_each(Ticket::cancel);
        warm.cancel();
        prompt.cancel();
        io.open_gate();
        submit(&store, Priority::Warm, &rows[..1]).wait().unwrap();
        assert!(
            io.begun() <= begun + in_flight + 1,
            "{} more",
            io.begun() - begun
        );
    }
}

#[test]
fn a_token_goes_before_the_profile_that_fills_the_cache() {
    let vectors = format_spec().join("vectors");
    let io = GatedIo::default();
    let config = Config::new()
        .io(1, 8)
        .cache_bytes(1 << 20)
        .profile(vectors.join("profiles/deepseek.profile"))
        .file_access(Arc::new(io.clone()));
    let store = Store::open(vectors.join("deepseek"), config).unwrap();
    // The cache is being filled, with reads in flight that nobody asked for.
    io.wait_until_begun(1);
    let rows = all_rows(&store, 0);
    let token = submit(&store, Priority::Decode, &rows[..5]);
    let reads = reads_until_done(&io, token);
    assert!(reads <= 4 + 5, "{reads}: a piece is half of the reads");
    io.open_gate();
    assert!(store.wait_seeded().unwrap() > 0);
}

#[test]
fn a_wait_that_times_out_gives_the_ticket_back() {
    let (_folder, pack) = long_pack();
    let io = GatedIo::default();
    let config = Config::new().file_access(Arc::new(io.clone()));
    let store = Store::open(&pack, config).unwrap();
    let rows = all_rows(&store, 0);
    let mut ticket = submit(&store, Priority::Decode, &rows[..5]);
    for timeout in [Duration::ZERO, Duration::from_millis(1)] {
        ticket = ticket.wait_timeout(timeout).unwrap_err();
    }
    io.open_gate();
    let found = ticket.wait_timeout(Duration::MAX).unwrap().unwrap();
    let layer = store.scheme().layers[0].id;
    assert!(*found == *look_up(&store, layer, &rows[..5]).unwrap());
}

#[test]
fn the_batches_of_each_priority_are_counted() {
    let fixture = Fixture::new("deepseek");
    let store = Store::open(fixture.pack(), Config::new()).unwrap();
    let rows = all_rows(&store, 0);
    submit(&store, Priority::Warm, &rows[..3]).wait().unwrap();
    submit(&store, Priority::Decode, &rows[..5]).wait().unwrap();
    submit_owned(&store, &many_rows(&store, 2_000))
        .wait()
        .unwrap();
    let metrics = store.metrics();
    let table = &metrics.tables[0];
    let counts = table
        .priorities
        .map(|of| (of.priority, of.batches, of.rows));
    assert_eq!(
        counts,
        [
            (Priority::Decode, 1, 5),
            (Priority::Prefill, 1, 2_000),
            (Priority::Warm, 1, 3)
        ]
    );
    assert_eq!((table.batches, table.rows), (3, 2_008));
    let waited: Duration = table.priorities.iter().map(|of| of.waited).sum();
    assert_eq!(waited, table.waited);
    let layer = table.layer;
    let line = format!("engram_priority_rows_total{{layer=\"{layer}\",priority=\"warm\"}} 3\n");
    assert!(metrics.to_prometheus().contains(&line));
}

#[test]
fn who_is_cancelled_from_elsewhere_is_told_and_reads_nothing_more() {
    let (_folder, pack) = long_pack();
    let io = GatedIo::default();
    let config = Config::new().io(1, 8).cache_bytes(0);
    let store = Store::open(&pack, config.file_access(Arc::new(io.clone()))).unwrap();
    let rows = all_rows(&store, 0);
    let ticket = submit(&store, Priority::Prefill, &rows);
    io.wait_until_begun(8);
    let canceller = ticket.canceller();
    let waits = thread::spawn(move || ticket.wait());
    canceller.cancel();
    io.open_gate();
    let cancelled = waits.join().unwrap().unwrap_err();
    assert!(matches!(cancelled, LookupError::Cancelled), "{cancelled}");
    assert_eq!(io.begun(), 8);
    // The same memory serves others, whom nothing cancels any more.
    for _ in 0..3 {
        let next = submit(&store, Priority::Prefill, &rows[..20]);
        canceller.cancel();
        next.wait().unwrap();
    }
}

#[test]
fn a_pass_that_is_dropped_from_a_ring_reads_nothing_more() {
    let (_folder, pack) = long_pack();
    let io = GatedIo::default();
    let config = Config::new().io(1, 8).cache_bytes(0);
    let store = Store::open(&pack, config.file_access(Arc::new(io.clone()))).unwrap();
    let rows = all_rows(&store, 0);
    let layer = store.scheme().layers[0].id;
    let device = Device::host();
    let ring = Ring::new(
        &device,
        Arc::new(store),
        &RingConfig::new(rows.len()).depth(1),
    )
    .unwrap();
    let prompt = ring.stage_at(Priority::Prefill, layer, &rows);
    io.wait_until_begun(8);
    drop(prompt.unwrap().unwrap());
    io.open_gate();
    // The slot becomes free, and its next pass has its own rows.
    let next = loop {
        if let Some(staged) = ring.stage(layer, &rows[..3]).unwrap() {
            break staged;
        }
        thread::yield_now();
    };
    next.read_on(&device.stream(0).unwrap()).unwrap();
    assert_eq!(io.begun(), 8 + 3);
    let priorities = ring.store().metrics().tables[0].priorities;
    assert_eq!(priorities.map(|of| of.batches), [1, 1, 0]);
}

#[test]
fn prompts_share_the_drive_and_all_of_them_end() {
    let (_folder, pack) = long_pack();
    let io = GatedIo::default();
    let config = Config::new().io(1, 4).cache_bytes(0);
    let store = Store::open(&pack, config.file_access(Arc::new(io.clone()))).unwrap();
    let rows = all_rows(&store, 0);
    let long = submit(&store, Priority::Prefill, &rows);
    io.wait_until_begun(4);
    let short = submit(&store, Priority::Prefill, &rows[..40]);
    // Turn by turn, the short one is through after about as many reads of the long one as of its own.
    let reads = reads_until_done(&io, short);
    assert!((40..=120).contains(&reads), "{reads}");
    assert!(!long.is_done());
    io.open_gate();
    assert!(*long.wait().unwrap() == *look_up(&store, LayerId(0), &rows).unwrap());
}

/// Notes which threads ask, and holds them up until it is told not to.
#[derive(Debug, Default)]
struct Watching {
    holds: AtomicBool,
    threads: Mutex<Vec<String>>,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
}

impl Tier for Watching {
    fn serve(&self, _: &mut Wanted<'_>, _: &mut RowsMut<'_>) -> Result<(), LookupError> {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.threads.lock().unwrap().push(name);
        let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_inside.fetch_max(inside, Ordering::Relaxed);
        let began = Instant::now();
        while self.holds.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(20) {
            thread::yield_now();
        }
        self.inside.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

/// `count` rows of the store's first table, over and over.
fn many_rows(store: &Store, count: usize) -> Arc<[RowId]> {
    all_rows(store, 0).into_iter().cycle().take(count).collect()
}

fn submit_owned(store: &Store, rows: &Arc<[RowId]>) -> Ticket {
    let layer = store.scheme().layers[0].id;
    let buffer = store.buffer(layer, rows.len()).unwrap();
    let batch = OwnedBatch::new(layer, rows.clone());
    store.submit_owned(batch, buffer).unwrap()
}

#[test]
fn asking_for_a_large_batch_is_not_the_callers_work() {
    let fixture = Fixture::new("deepseek");
    for reader in READERS {
        let tier = Arc::new(Watching::default());
        let config = Config::new().reader(reader).tier(tier.clone());
        let store = Store::open(fixture.pack(), config).unwrap();
        let layer = store.scheme().layers[0].id;
        // A small one is served by its caller, and done at once if its rows are in memory.
        let small = submit_owned(&store, &many_rows(&store, 24));
        let threads = std::mem::take(&mut *tier.threads.lock().unwrap());
        assert_eq!(threads, [thread::current().name().unwrap()]);
        if reader == Reader::Memory {
            assert!(small.is_done());
        }
        small.wait().unwrap();
        // While the tier holds every thread up that asks, asking returns.
        tier.holds.store(true, Ordering::Relaxed);
        let rows = many_rows(&store, 100_000);
        let large = submit_owned(&store, &rows);
        assert!(!large.is_done());
        tier.holds.store(false, Ordering::Relaxed);
        let found = large.wait().unwrap();
        // A thread of the store does it, with the help of others that have no name.
        let threads = std::mem::take(&mut *tier.threads.lock().unwrap());
        let of_the_store = |name: &String| name.is_empty() || name.starts_with("engram-gather");
        assert!(
            !threads.is_empty() && threads.iter().all(of_the_store),
            "{threads:?}"
        );
        assert!(*found == *look_up(&store, layer, &rows).unwrap());
    }
}

#[test]
fn batches_of_all_sizes_and_numbers_of_threads_are_alike() {
    for name in ["demo", "deepseek"] {
        let fixture = Fixture::new(name);
        let attached = fixture.folder().join("attached");
        attach(
            &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
            &attached,
        )
        .unwrap();
        let memory = Store::open(fixture.pack(), Config::new().reader(Reader::Memory)).unwrap();
        let layer = memory.scheme().layers[0].id;
        let cases = [0, 1_024, 1_025, 16_385, 33_001].map(|count| {
            let rows = many_rows(&memory, count);
            let bytes = look_up(&memory, layer, &rows).unwrap();
            (rows, bytes)
        });
        for (pack, threads) in [fixture.pack(), attached]
            .iter()
            .flat_map(|pack| [0, 3].map(|threads| (pack, threads)))
        {
            for reader in READERS {
                let config = Config::new().reader(reader).gather_threads(threads);
                let store = Store::open(pack, config).unwrap();
                for (rows, bytes) in &cases {
                    let case = format!("{} {threads} {reader:?} {}", pack.display(), rows.len());
                    let found = submit_owned(&store, rows).wait().unwrap();
                    assert!(*found == **bytes, "{case}");
                    assert!(look_up(&store, layer, rows).unwrap() == *bytes, "{case}");
                    let buffer = store
                        .value_buffer(layer, rows.len(), ValueType::F32)
                        .unwrap();
                    let batch = OwnedBatch::new(layer, rows.clone());
                    let values = store.submit_owned(batch, buffer).unwrap().wait().unwrap();
                    let codec = store.codec(layer).unwrap();
                    assert!(*values == ValueType::F32.decode(codec, bytes), "{case}");
                }
            }
        }
        // Hashed ids know their layer.
        let mut row_ids = RowIds::with_ngrams();
        let tokens = sample_tokens(&memory);
        let hasher = memory.hasher();
        hasher
            .extend(&mut Sequence::new(), &tokens, &mut row_ids)
            .unwrap();
        let expected: Vec<_> = (row_ids.batches())
            .map(|batch| look_up(&memory, batch.layer(), batch.row_ids()).unwrap())
            .collect();
        for (batch, expected) in row_ids.into_batches().zip(expected) {
            let (layer, rows) = (batch.as_batch().layer(), batch.as_batch().len());
            let buffer = memory.buffer(layer, rows).unwrap();
            let found = memory.submit_owned(batch, buffer).unwrap().wait().unwrap();
            assert!(*found == *expected);
        }
    }
}

#[test]
fn several_threads_gather_what_one_caller_wants() {
    let fixture = Fixture::new("demo");
    let tier = Arc::new(Watching::default());
    let config = Config::new().reader(Reader::Memory).gather_threads(3);
    let store = Store::open(fixture.pack(), config.tier(tier.clone())).unwrap();
    let layer = store.scheme().layers[0].id;
    let rows = many_rows(&store, 50_000);
    let mut out = vec![0; rows.len() * store.codec(layer).unwrap().row_bytes()];
    tier.holds.store(true, Ordering::Relaxed);
    thread::scope(|scope| {
        let caller = thread::Builder::new().name("caller".into());
        let run = || store.lookup(Batch::new(layer, &rows), &mut out).unwrap();
        caller.spawn_scoped(scope, run).unwrap();
        let began = Instant::now();
        while tier.inside.load(Ordering::Relaxed) < 3 {
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "one after another"
            );
            thread::yield_now();
        }
        tier.holds.store(false, Ordering::Relaxed);
    });
    assert_eq!(tier.most_inside.load(Ordering::Relaxed), 3);
    let threads = tier.threads.lock().unwrap();
    let own = |name: &String| name == "caller";
    assert!(threads.iter().any(own), "the caller works too");
}

#[test]
fn what_is_wrong_with_a_large_batch_comes_with_its_ticket() {
    let fixture = Fixture::new("deepseek");
    let store = Store::open(fixture.pack(), Config::new()).unwrap();
    let layer = store.scheme().layers[0].id;
    let mut rows = many_rows(&store, 20_000).to_vec();
    rows[15_000] = RowId(1 << 40);
    match submit_owned(&store, &rows.into()).wait().unwrap_err() {
        LookupError::RowOutOfRange { index, row, .. } => {
            assert_eq!((index, row), (15_000, RowId(1 << 40)));
        }
        other => panic!("{other}"),
    }
    // What costs no look at the rows is said at once.
    let buffer = store.buffer(layer, 1_000).unwrap();
    let batch = OwnedBatch::new(layer, many_rows(&store, 1_001));
    let refused = store.submit_owned(batch, buffer).unwrap_err();
    assert!(matches!(
        refused,
        LookupError::OutputSize { rows: 1_001, .. }
    ));
    let buffer = store.buffer(layer, 1_000).unwrap();
    let batch = OwnedBatch::new(LayerId(99), many_rows(&store, 1_000));
    let refused = store.submit_owned(batch, buffer).unwrap_err();
    assert!(matches!(refused, LookupError::UnknownLayer { .. }));
}

/// Fails or panics at the row with this place in its batch.
#[derive(Debug)]
struct Spoiled {
    index: u32,
    panics: bool,
}

impl Tier for Spoiled {
    fn serve(&self, wanted: &mut Wanted<'_>, _: &mut RowsMut<'_>) -> Result<(), LookupError> {
        if wanted.rows().iter().any(|row| row.index == self.index) {
            assert!(!self.panics, "this is meant to happen");
            return Err(LookupError::Tier("no such row today".into()));
        }
        Ok(())
    }
}

#[test]
fn a_tier_that_fails_or_panics_in_a_later_turn_fails_the_ticket_alone() {
    let fixture = Fixture::new("deepseek");
    for panics in [false, true] {
        let tier = Spoiled {
            index: 50_000,
            panics,
        };
        let config = Config::new().tier(Arc::new(tier)).gather_threads(1);
        let store = Store::open(fixture.pack(), config).unwrap();
        let failed = submit_owned(&store, &many_rows(&store, 60_000));
        let good = submit_owned(&store, &many_rows(&store, 20_000));
        match failed.wait().unwrap_err() {
            LookupError::Tier(_) => assert!(!panics),
            LookupError::Aborted => assert!(panics),
            other => panic!("{other}"),
        }
        good.wait().unwrap();
    }
}

#[test]
fn row_ids_are_free_once_their_ticket_is_done() {
    let fixture = Fixture::new("deepseek");
    for reader in [Reader::Memory, Reader::Direct] {
        let config = Config::new().reader(reader).cache_bytes(0);
        let store = Store::open(fixture.pack(), config).unwrap();
        let mut rows = many_rows(&store, 20_000);
        for _ in 0..200 {
            submit_owned(&store, &rows).wait().unwrap();
            assert!(Arc::get_mut(&mut rows).is_some(), "{reader:?}");
        }
    }
}

#[test]
fn a_large_batch_that_is_dropped_reads_nothing_more() {
    let fixture = Fixture::new("deepseek");
    let tier = Arc::new(Watching::default());
    let backing = ReaderBackings {
        io: Arc::new(engram::SystemIo),
        when: When::AtOnce,
    };
    let config = Config::new()
        .cache_bytes(0)
        .pool_bytes(0)
        .tier(tier.clone());
    let store = Store::open(fixture.pack(), config.backing(Arc::new(backing))).unwrap();
    tier.holds.store(true, Ordering::Relaxed);
    let ticket = submit_owned(&store, &many_rows(&store, 200_000));
    while tier.inside.load(Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    let (told, done) = mpsc::channel();
    ticket.on_done(move || told.send(()).unwrap());
    ticket.cancel();
    tier.holds.store(false, Ordering::Relaxed);
    done.recv_timeout(Duration::from_mins(1)).unwrap();
    let tables = store.metrics().tables;
    assert_eq!(tables[0].reads, 0);
}
