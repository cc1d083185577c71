//! The drive's limit, as a bare ring of reads finds it.

use std::{path::PathBuf, sync::Arc};

use crate::timing::{Elapsed, Stopwatch};
use anyhow::{Result, ensure};
use engram_io::{BlockRead, DirectFile, ReadEngine, UringEngine};
use engram_kit::random::Random;

const SLOT_BYTES: usize = 16 << 10;

/// Reads of `bytes` bytes at random aligned places of `files`.
pub(crate) fn random_reads(
    files: &[DirectFile],
    bytes: u32,
    count: usize,
    random: &mut Random,
) -> Vec<BlockRead> {
    (0..count)
        .map(|_| {
            let file = random.below(files.len() as u64);
            let file = u32::try_from(file).expect("below the number of files");
            let places = files[file as usize].size() / u64::from(bytes);
            BlockRead {
                file,
                offset: random.below(places.max(1)) * u64::from(bytes),
                len: bytes,
                needed: bytes,
            }
        })
        .collect()
}

/// Opens `files` for direct reads.
pub(crate) fn open(files: &[PathBuf]) -> Result<Arc<[DirectFile]>> {
    let files: Vec<_> = files
        .iter()
        .map(|path| DirectFile::open(path))
        .collect::<Result<_, _>>()?;
    ensure!(
        files.iter().all(DirectFile::is_direct),
        "the file system refuses O_DIRECT; its page cache would be measured"
    );
    Ok(files.into())
}

/// Time that `reads` take with `depth` in flight from one thread.
pub(crate) fn run(files: &Arc<[DirectFile]>, reads: &[BlockRead], depth: u16) -> Result<Elapsed> {
    let mut queue = UringEngine::new(files.clone(), depth, SLOT_BYTES)?;
    let mut failed = None;
    let watch = Stopwatch::start();
    let mut left = reads.iter();
    loop {
        while queue.in_flight() < queue.depth()
            && let Some(&read) = left.next()
        {
            queue.begin(read);
        }
        if queue.in_flight() == 0 {
            break;
        }
        queue.finish(&mut |_, bytes| {
            if let Err(error) = bytes {
                failed = Some(error);
            }
        })?;
    }
    let elapsed = watch.stop();
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(elapsed),
    }
}
