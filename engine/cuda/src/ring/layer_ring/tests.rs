//! Passes that end as they should not, on the stand-in.

use std::{
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use engram::{Batch, BufferPool, Config, LayerId, Reader};

use super::*;
use crate::{driver::faulty::Faulty, ring::progress::Outcome};

const LAYER: LayerId = LayerId(1);

fn store() -> Arc<Store> {
    let pack = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../format-spec/vectors/deepseek"
    );
    Arc::new(Store::open(pack, Config::new().reader(Reader::Memory)).unwrap())
}

fn faulty_ring(depth: usize) -> (LayerRing, Device, Arc<Faulty>) {
    let (device, faulty) = Device::faulty();
    let config = RingConfig::new(4).depth(depth);
    let ring = LayerRing::new(&device, &store(), LAYER, 0, &config).unwrap();
    (ring, device, faulty)
}

/// Does `work` in a thread, and fails if it takes long: it would for ever.
fn soon<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = channel();
    thread::spawn(move || done.send(work()));
    let result = result.recv_timeout(Duration::from_mins(1));
    result.expect("done soon, without a panic")
}

fn stage(ring: &LayerRing) -> Staged {
    for _ in 0..60_000 {
        if let Some(staged) = ring.stage(Priority::Decode, &[RowId(3), RowId(5)]).unwrap() {
            return staged;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("no slot becomes free");
}

/// What [`LayerRing::stage`] gives once the pass before is out of the way.
fn refused(ring: &LayerRing) -> DeviceError {
    for _ in 0..60_000 {
        match ring.stage(Priority::Decode, &[RowId(3)]) {
            Err(error) => return error,
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Ok(Some(_)) => panic!("a pass is staged after the layer has ended"),
        }
    }
    panic!("the slot is in use for ever, and nobody says why");
}

/// A buffer's home that waits to be told, and then panics.
#[derive(Debug)]
struct Panics(Mutex<Receiver<()>>);

impl BufferPool for Panics {
    fn recycle(&self, _rows: RowBuffer) {
        self.0.lock().unwrap().recv().unwrap();
        panic!("as the test wants");
    }
}

/// A job whose buffer goes to `home` when its rows have come.
fn job(ring: &LayerRing, number: u64, home: Arc<dyn BufferPool>) -> (Job, Outcome) {
    let row_bytes = ring.pipeline.codec().row_bytes();
    let mut rows = RowBuffer::new(row_bytes).unwrap();
    rows.reset(1, [row_bytes, 0]);
    let batch = Batch::new(LAYER, &[RowId(3)]);
    let ticket = (ring.owner.store).submit(batch, Buffer::new(rows, home));
    let slot_index = usize::try_from(number).unwrap() - 1;
    let job = Job::new(&ring.pipeline, slot_index, number, 1, ticket.unwrap());
    let outcome = Outcome::new(job.progress().clone());
    (job, outcome)
}

#[test]
fn a_panic_of_the_fetching_thread_ends_all_passes() {
    let (ring, _device, _) = faulty_ring(3);
    let (go, wait) = channel();
    let panics: Arc<dyn BufferPool> = Arc::new(Panics(Mutex::new(wait)));
    let mut outcomes = Vec::new();
    for number in 1..=3 {
        let slot_index = usize::try_from(number).unwrap() - 1;
        let slot = &ring.pipeline.slots()[slot_index];
        // The first pass panics the thread when its rows have come; by then the others are in the queue behind it.
        let home = if number == 1 {
            panics.clone()
        } else {
            slot.pool.clone()
        };
        let (job, outcome) = job(&ring, number, home);
        slot.begin_pass(number);
        let row_bytes = ring.pipeline.codec().row_bytes();
        let enqueued = ring.pipeline.enqueue(slot_index, number, 1, row_bytes);
        enqueued.unwrap();
        ring.fetcher.send(job).unwrap();
        outcomes.push(outcome);
    }
    go.send(()).unwrap();
    soon(move || {
        for outcome in outcomes {
            let error = outcome.wait().unwrap_err();
            assert!(matches!(error, DeviceError::Ended { layer: LAYER }));
        }
        drop(ring);
    });
}

#[test]
fn a_job_that_cannot_be_sent_ends_its_pass() {
    let (ring, _device, _) = faulty_ring(2);
    let (go, wait) = channel();
    let (panics, _) = job(&ring, 1, Arc::new(Panics(Mutex::new(wait))));
    ring.fetcher.send(panics).unwrap();
    go.send(()).unwrap();
    for _ in 0..60_000 {
        let (job, outcome) = job(&ring, 2, ring.pipeline.slots()[1].pool.clone());
        if let Err(error) = ring.fetcher.send(job) {
            assert!(matches!(error, DeviceError::Ended { layer: LAYER }));
            let error = soon(move || outcome.wait().unwrap_err());
            assert!(matches!(error, DeviceError::Ended { layer: LAYER }));
            let error = ring.stage(Priority::Decode, &[RowId(3)]).unwrap_err();
            assert!(matches!(error, DeviceError::Ended { layer: LAYER }));
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("a thread that has panicked takes jobs");
}

#[test]
fn a_graph_that_is_never_launched_does_not_block_dropping() {
    for depth in [1, 2, 3] {
        let (ring, _device, _) = faulty_ring(depth);
        // Each slot is used twice: its second pass waits for the graph of the first.
        for _ in 0..2 * depth {
            stage(&ring).into_graph().wait().unwrap();
        }
        soon(move || drop(ring));
    }
}

#[test]
fn a_wait_without_a_release_does_not_block_dropping() {
    let (ring, device, _) = faulty_ring(1);
    let stream = device.stream(0).unwrap();
    let staged = stage(&ring);
    ring.output_slots()[0].wait_on(&stream).unwrap();
    staged.into_graph().wait().unwrap();
    let next = stage(&ring);
    soon(move || {
        drop(ring);
        drop(next);
        drop(stream);
    });
}

#[test]
fn a_release_that_fails_ends_the_layer() {
    let (ring, device, faulty) = faulty_ring(2);
    let stream = device.stream(0).unwrap();
    let staged = stage(&ring);
    let consumed = staged.consume_on(&stream, |_| faulty.fail(Some("write")));
    assert!(matches!(
        consumed,
        Err(DeviceError::Call { call: "write", .. })
    ));
    faulty.fail(None);
    assert!(matches!(
        refused(&ring),
        DeviceError::Ended { layer: LAYER }
    ));
    soon(move || drop((ring, stream)));
}

#[test]
fn a_pass_that_cannot_be_dropped_ends_the_layer() {
    let (ring, _device, faulty) = faulty_ring(1);
    let staged = stage(&ring);
    faulty.fail(Some("write"));
    drop(staged);
    faulty.fail(None);
    assert!(matches!(
        refused(&ring),
        DeviceError::Ended { layer: LAYER }
    ));
    soon(move || drop(ring));
}

#[test]
fn a_pass_that_is_half_in_the_stream_ends_the_layer() {
    let (ring, _device, faulty) = faulty_ring(2);
    let first = stage(&ring);
    faulty.fail(Some("launch"));
    assert!(ring.stage(Priority::Decode, &[RowId(3)]).is_err());
    faulty.fail(None);
    assert!(matches!(
        refused(&ring),
        DeviceError::Ended { layer: LAYER }
    ));
    soon(move || drop((ring, first)));
}

#[test]
fn slots_that_the_device_may_use_are_leaked() {
    let (ring, device, faulty) = faulty_ring(2);
    let slots = faulty.allocations();
    assert!(slots > 0);
    faulty.fail(Some("synchronize"));
    drop(ring);
    assert_eq!(faulty.allocations(), slots);
    drop(device);
}
