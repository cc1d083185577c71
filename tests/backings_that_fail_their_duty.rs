//! A backing that drops reads, ends them short, or says what cannot be, fails a batch or is refused; it never
//! makes a wrong row.

use std::{path::PathBuf, sync::Arc};

use engram::{
    Backing, Batch, Config, Io, IoError, LookupError, OpenBacking, OpenError, PendingReads,
    ReadGeometry, Store, SystemIo,
};
use engram_io::{Access, ReadAt};
use engram_tests::{Fixture, all_rows, look_up};

/// What a backing does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    DropsAll,
    DropsRest,
    DropsOne,
    EndsShort,
}

/// Makes a geometry for so many files and the longest row.
type Geometry = fn(usize, usize) -> ReadGeometry;

#[derive(Debug)]
struct Failing {
    fault: Option<Fault>,
    geometry: Geometry,
}

#[derive(Debug)]
struct FailingBacking {
    fault: Option<Fault>,
    geometry: ReadGeometry,
    files: Vec<Box<dyn ReadAt>>,
}

impl OpenBacking for Failing {
    fn open(&self, files: &[PathBuf], longest_row: usize) -> Result<Arc<dyn Backing>, IoError> {
        let readers = files.iter().map(|path| SystemIo.open(path, Access::Pread));
        Ok(Arc::new(FailingBacking {
            fault: self.fault,
            geometry: (self.geometry)(files.len(), longest_row),
            files: readers.collect::<Result<_, _>>()?,
        }))
    }
}

impl Backing for FailingBacking {
    fn geometry(&self) -> &ReadGeometry {
        &self.geometry
    }

    fn fetch(&self, mut reads: PendingReads) {
        if self.fault == Some(Fault::DropsAll) {
            return;
        }
        let mut count = 0;
        while let Some(read) = reads.take_next() {
            count += 1;
            if self.fault == Some(Fault::DropsOne) && count == 2 {
                continue;
            }
            let block = read.block();
            let mut bytes = vec![0; block.needed as usize];
            let done = self.files[block.file as usize].read_at(block.offset, &mut bytes);
            let short = self.fault == Some(Fault::EndsShort);
            let len = if short { bytes.len() / 2 } else { bytes.len() };
            read.end(done.map(|()| &bytes[..len]));
            if self.fault == Some(Fault::DropsRest) {
                return;
            }
        }
    }

    fn depth(&self) -> usize {
        1
    }

    fn in_flight(&self) -> u64 {
        0
    }
}

fn sound(files: usize, longest_row: usize) -> ReadGeometry {
    ReadGeometry {
        units: vec![1; files],
        max_bytes: longest_row + 1,
    }
}

fn open(fixture: &Fixture, failing: Failing) -> Result<Store, OpenError> {
    let config = Config::new().cache_bytes(0).backing(Arc::new(failing));
    Store::open(fixture.pack(), config)
}

#[test]
fn reads_that_are_dropped_or_short_fail_the_batch() {
    let fixture = Fixture::new("demo");
    let geometry = sound;
    for fault in [
        None,
        Some(Fault::DropsAll),
        Some(Fault::DropsRest),
        Some(Fault::DropsOne),
        Some(Fault::EndsShort),
    ] {
        let store = open(&fixture, Failing { fault, geometry }).unwrap();
        let layer = store.scheme().layers[0].id;
        let rows = all_rows(&store, 0);
        let ticket = || {
            let buffer = store.buffer(layer, rows.len()).unwrap();
            store
                .submit(Batch::new(layer, &rows), buffer)
                .unwrap()
                .wait()
        };
        // `look_up` checks that a failed one hands out zeros.
        for found in [look_up(&store, layer, &rows).map(drop), ticket().map(drop)] {
            match fault {
                None => assert!(found.is_ok()),
                Some(Fault::EndsShort) => {
                    let Err(LookupError::Unread { rows, .. }) = found else {
                        panic!("{found:?}");
                    };
                    assert!(!rows.is_empty());
                }
                Some(_) => assert!(
                    matches!(found, Err(LookupError::ReadDropped)),
                    "{fault:?}: {found:?}"
                ),
            }
        }
    }
}

#[test]
fn a_geometry_by_which_rows_cannot_be_read_is_refused() {
    let fixture = Fixture::new("demo");
    let cases: [(Geometry, &str); 4] = [
        (
            |files, row| ReadGeometry {
                units: vec![1; files - 1],
                max_bytes: row + 1,
            },
            "units",
        ),
        (
            |files, row| ReadGeometry {
                units: vec![0; files],
                max_bytes: row + 1,
            },
            "a unit is 0",
        ),
        (
            |files, row| ReadGeometry {
                units: vec![512; files],
                max_bytes: row,
            },
            "max_bytes",
        ),
        (
            |files, _| ReadGeometry {
                units: vec![1; files],
                max_bytes: 1 << 40,
            },
            "max_bytes",
        ),
    ];
    for (geometry, named) in cases {
        let fault = None;
        let refused = open(&fixture, Failing { fault, geometry }).unwrap_err();
        assert!(matches!(refused, OpenError::Geometry { .. }), "{refused}");
        assert!(refused.to_string().contains(named), "{refused}");
    }
    assert!(
        open(
            &fixture,
            Failing {
                fault: None,
                geometry: sound
            }
        )
        .is_ok()
    );
}
