//! Files on several drives, each of which has threads and a queue of its own.
//!
//! Reads that a slow drive holds would fill the places of a queue that all share, and the others would stand still.

use std::sync::Arc;

use engram_io::EngineKind;

use super::{Backing, DiskBacking, PendingReads, ReadGeometry};

/// The drives that the files of a pack lie on: at least one.
#[derive(Debug)]
pub(crate) struct Drives {
    disks: Vec<DiskBacking>,
    /// The drive of each file.
    drive_of: Arc<[u32]>,
}

impl Drives {
    /// `disks[drive_of[f]]` reads file `f`. Plans must have the reads of each drive together, in the order of drives.
    ///
    /// # Panics
    /// If there is no drive.
    pub(crate) fn new(disks: Vec<DiskBacking>, drive_of: Arc<[u32]>) -> Self {
        assert!(!disks.is_empty(), "files lie somewhere");
        Self { disks, drive_of }
    }

    /// How reads get to the drives now: by threads, if they do to any.
    pub(crate) fn kind(&self) -> EngineKind {
        let mut kinds = self.disks.iter().map(DiskBacking::kind);
        let first = kinds.next().expect("at least one drive");
        kinds
            .find(|&kind| kind == EngineKind::Threads)
            .unwrap_or(first)
    }

    /// Threads that read now; 0 in a process that was forked from the one that has them.
    pub(crate) fn threads(&self) -> usize {
        self.disks.iter().map(DiskBacking::threads).sum()
    }

    /// Whether all files are read past the page cache now.
    pub(crate) fn past_page_cache(&self) -> bool {
        self.disks.iter().all(DiskBacking::past_page_cache)
    }
}

impl Backing for Drives {
    fn geometry(&self) -> &ReadGeometry {
        self.disks[0].geometry()
    }

    fn fetch(&self, mut reads: PendingReads) {
        if let [disk] = &self.disks[..] {
            disk.fetch(reads);
            return;
        }
        for (drive, disk) in (0..).zip(&self.disks) {
            let others = reads.split_off(|block| self.drive_of[block.file as usize] <= drive);
            let here = std::mem::replace(&mut reads, others);
            if !here.is_empty() {
                disk.fetch(here);
            }
        }
    }

    fn depth(&self) -> usize {
        self.disks.iter().map(DiskBacking::depth).sum()
    }

    fn in_flight(&self) -> u64 {
        self.disks.iter().map(DiskBacking::in_flight).sum()
    }
}
