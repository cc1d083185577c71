use std::{
    path::{Path, PathBuf},
    ptr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use engram::{Backing, Config, IoError, OpenBacking, PendingRead, PendingReads, ReadGeometry};

use super::*;
use crate::{
    batch::{engram_batch_free, engram_batch_new, engram_batch_set_i32},
    status::engram_status::ENGRAM_OK,
    store::engram_store_close,
    value_type::ENGRAM_STORED,
};

const PACK: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../format-spec/vectors/deepseek"
);
const ROWS: usize = 5;
const ROW_BYTES: usize = 66;

/// A storage whose reads are in flight until somebody drops them.
#[derive(Debug)]
struct Stuck {
    geometry: ReadGeometry,
    reads: Arc<Mutex<Vec<PendingRead>>>,
}

#[derive(Debug)]
struct OpenStuck(Arc<Mutex<Vec<PendingRead>>>);

impl OpenBacking for OpenStuck {
    fn open(&self, files: &[PathBuf], longest_row: usize) -> Result<Arc<dyn Backing>, IoError> {
        Ok(Arc::new(Stuck {
            geometry: ReadGeometry {
                units: vec![1; files.len()],
                max_bytes: longest_row + 1,
            },
            reads: self.0.clone(),
        }))
    }
}

impl Backing for Stuck {
    fn geometry(&self) -> &ReadGeometry {
        &self.geometry
    }

    fn fetch(&self, mut reads: PendingReads) {
        let mut stuck = self.reads.lock().unwrap();
        while let Some(read) = reads.take_next() {
            stuck.push(read);
        }
    }

    fn depth(&self) -> usize {
        8
    }

    fn in_flight(&self) -> u64 {
        0
    }
}

/// Cancels a ticket while its reads are stuck, and frees it. Whether that waited for the reads to end.
fn waits_for_reads(stride: usize) -> bool {
    let reads = Arc::<Mutex<Vec<PendingRead>>>::default();
    let config = Config::new()
        .cache_bytes(0)
        .backing(Arc::new(OpenStuck(reads.clone())));
    let store = engram_store::with_config(Path::new(PACK), config).unwrap();
    let store = Box::into_raw(Box::new(store));
    let (mut batch, mut ticket) = (ptr::null_mut(), ptr::null_mut());
    let mut out = [7_u8; ROWS * 2 * ROW_BYTES];
    let error = ptr::null_mut();
    let ended = Arc::<AtomicBool>::default();
    // SAFETY: every pointer is to a variable that lives long enough, and to an object that is freed at the end.
    unsafe {
        assert_eq!(engram_batch_new(&raw mut batch, error), ENGRAM_OK);
        let ids = [3, 1, 4, 1, 5];
        let set = engram_batch_set_i32(batch, 1, ids.as_ptr(), ROWS, error);
        assert_eq!(set, ENGRAM_OK);
        let (start, bytes) = (out.as_mut_ptr().cast(), out.len());
        let place = &raw mut ticket;
        let status = engram_submit(
            store,
            batch,
            ENGRAM_STORED,
            start,
            bytes,
            stride,
            place,
            error,
        );
        assert_eq!(status, ENGRAM_OK);
        engram_batch_free(batch);
        engram_store_close(store);
        assert!(!engram_ticket_is_done(ticket));
        engram_ticket_cancel(ticket);
        let is_lent = !engram_ticket_is_done(ticket);
        // Reads that nobody may wait for stay stuck until the ticket is gone.
        let until = is_lent.then(|| {
            let ended = ended.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(100));
                ended.store(true, Ordering::SeqCst);
                reads.lock().unwrap().clear();
            })
        });
        engram_ticket_free(ticket);
        let waited = ended.load(Ordering::SeqCst);
        assert_eq!(waited, is_lent);
        if let Some(until) = until {
            until.join().unwrap();
        }
        waited
    }
}

#[test]
fn lent_memory_is_given_back_when_no_read_is_in_flight() {
    assert!(waits_for_reads(0));
    // Rows that are put to their places by the caller's own thread need not wait.
    assert!(!waits_for_reads(2 * ROW_BYTES));
}
