//! Whatever is edited, in whatever order, is served as a plain map of the edits would serve it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are small"
)]

use std::sync::Arc;

use engram::{Config, LayerId, RowId, Store, read_manifest};
use engram_overlay::{EditedRows, Edits, Key, Shape, Snapshot};
use engram_tests::{Fixture, READERS, sample_tokens};
use proptest::{collection::vec, prelude::*};

mod common;
use common::{Map, change, expected, look_up, map_of, rows_for};

/// One step of a sequence.
#[derive(Debug, Clone)]
enum Step {
    /// Entries by numbers that choose layer, key and byte; the byte 0 takes the entry away.
    Write(Vec<(u8, u8, u8)>),
    Snapshot,
    /// Closes the database and opens it again.
    Reopen,
    /// A reader beside the writer sees what there is.
    Refresh,
    /// Looks a text up by a store of each reader.
    LookUp,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = vec((any::<u8>(), any::<u8>(), 0..4_u8), 1..40).prop_map(Step::Write);
    let step = prop_oneof![
        6 => write,
        2 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
        2 => Just(Step::Refresh),
        2 => Just(Step::LookUp),
    ];
    vec(step, 1..14)
}

/// The key that a number chooses: rows, and the n-grams of a text.
fn key_of(number: u8, ngrams: &[Vec<u32>]) -> Key {
    if number < 100 {
        Key::Row(RowId(number.into()))
    } else {
        Key::NGram(ngrams[usize::from(number) % ngrams.len()].clone())
    }
}

/// What is edited: in memory, or in a database with a reader beside it.
trait Edited {
    fn write(&mut self, edits: &Edits) -> u64;
    fn rows(&self) -> Arc<EditedRows>;
    fn reopen(&mut self) {}
    /// What a reader sees after a refresh.
    fn refresh(&mut self) -> Option<Snapshot> {
        None
    }
}

struct InMemory(Arc<EditedRows>);

impl Edited for InMemory {
    fn write(&mut self, edits: &Edits) -> u64 {
        self.0.apply(edits).unwrap()
    }

    fn rows(&self) -> Arc<EditedRows> {
        self.0.clone()
    }
}

#[cfg(feature = "rocksdb")]
mod on_a_drive {
    use std::path::PathBuf;

    use engram_overlay::{Durability, Overlay, OverlayReader};

    use super::{Arc, Edited, EditedRows, Edits, Snapshot};

    pub(crate) struct OnDrive {
        pub(crate) pack: PathBuf,
        pub(crate) folder: tempfile::TempDir,
        pub(crate) overlay: Option<Overlay>,
        pub(crate) reader: Option<OverlayReader>,
    }

    impl OnDrive {
        pub(crate) fn new(pack: PathBuf) -> Self {
            let mut new = Self {
                pack,
                folder: tempfile::tempdir().unwrap(),
                overlay: None,
                reader: None,
            };
            new.reopen();
            new
        }
    }

    impl Edited for OnDrive {
        fn write(&mut self, edits: &Edits) -> u64 {
            self.overlay.as_ref().unwrap().write(edits).unwrap()
        }

        fn rows(&self) -> Arc<EditedRows> {
            self.overlay.as_ref().unwrap().rows()
        }

        fn reopen(&mut self) {
            self.overlay = None;
            let path = self.folder.path().join("overlay");
            let overlay = Overlay::open(&self.pack, path, Durability::System);
            self.overlay = Some(overlay.unwrap());
        }

        fn refresh(&mut self) -> Option<Snapshot> {
            let path = self.folder.path().join("overlay");
            let open = || OverlayReader::open(&self.pack, path).unwrap();
            let reader = self.reader.get_or_insert_with(open);
            reader.refresh().unwrap();
            Some(reader.snapshot())
        }
    }
}

fn run(fixture: &Fixture, plain: &Store, edited: &mut dyn Edited, steps: &[Step]) {
    let tokens = sample_tokens(plain);
    let mut ngrams = Vec::new();
    let each = |window: &[u32]| ngrams.extend([window[..2].to_vec(), window[..3].to_vec()]);
    let hasher = plain.hasher();
    hasher
        .extend_windows(&mut engram::Sequence::new(), &tokens, each)
        .unwrap();
    let shape = Shape::of(plain.manifest());
    let layers: Vec<LayerId> = shape.layers().collect();
    let mut map = Map::new();
    let mut snapshots: Vec<(Snapshot, Map)> = Vec::new();
    let mut version = 0;
    for step in steps {
        match step {
            Step::Write(entries) => {
                let mut edits = Edits::new();
                for &(layer, key, byte) in entries {
                    let layer = layers[usize::from(layer) % layers.len()];
                    let key = key_of(key, &ngrams);
                    let rows = (byte > 0).then(|| rows_for(&shape, layer, &key, byte));
                    change(&mut edits, &mut map, layer, key, rows);
                }
                version += 1;
                assert_eq!(edited.write(&edits), version);
            }
            Step::Snapshot => snapshots.push((edited.rows().snapshot(), map.clone())),
            Step::Reopen => edited.reopen(),
            Step::Refresh => {
                if let Some(seen) = edited.refresh() {
                    assert_eq!(map_of(&seen), map);
                    assert_eq!(seen.version(), version);
                }
            }
            Step::LookUp => {
                for reader in READERS {
                    let config = Config::new().reader(reader).tier(edited.rows());
                    let store = Store::open(fixture.pack(), config).unwrap();
                    let expected = expected(plain, &map, &tokens);
                    assert!(look_up(&store, &tokens) == expected, "{reader:?}");
                }
            }
        }
        let newest = edited.rows().snapshot();
        assert_eq!(newest.version(), version);
        assert_eq!(map_of(&newest), map);
    }
    for (snapshot, map) in snapshots {
        assert_eq!(map_of(&snapshot), map);
    }
}

fn check(cases: u32, new: impl Fn(&Fixture) -> Box<dyn Edited>) {
    let fixture = Fixture::new("deepseek");
    let plain = Store::open(fixture.pack(), Config::new()).unwrap();
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in steps())| {
        run(&fixture, &plain, &mut *new(&fixture), &steps);
    });
}

#[test]
fn in_memory_is_as_in_a_map() {
    check(64, |fixture| {
        let manifest = read_manifest(fixture.pack()).unwrap();
        Box::new(InMemory(Arc::new(EditedRows::new(&manifest))))
    });
}

#[cfg(feature = "rocksdb")]
#[test]
fn in_a_database_is_as_in_a_map() {
    check(32, |fixture| {
        Box::new(on_a_drive::OnDrive::new(fixture.pack()))
    });
}
