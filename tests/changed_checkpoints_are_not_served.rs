//! Files behind an attached pack that change while it is open: their rows have no seals, so from then on none is
//! served.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use engram::{
    Batch, Config, LayerId, LookupError, OpenError, Reader, RowId, Store, ValueType, read_manifest,
};
use engram_checkpoint::Checkpoint;
use engram_pack::attach;
use engram_tests::{Fixture, READERS, all_rows, look_up, open, whole_tables};

/// Longer than a tick of the clock by which the system dates writes.
const TICK: Duration = Duration::from_millis(20);

/// An attached pack, and what is in it.
struct Attached {
    fixture: Fixture,
    pack: PathBuf,
    layer: LayerId,
    rows: Vec<RowId>,
    bytes: Vec<u8>,
}

impl Attached {
    fn new(family: &str) -> Self {
        let fixture = Fixture::new(family);
        let pack = fixture.folder().join("attached");
        attach(
            &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
            &pack,
        )
        .unwrap();
        let store = open(&fixture.pack(), Reader::Memory);
        Self {
            layer: store.scheme().layers[0].id,
            rows: all_rows(&store, 0),
            bytes: whole_tables(&store).remove(0),
            pack,
            fixture,
        }
    }

    /// The files that the rows of the first layer lie in.
    fn sources(&self) -> Vec<PathBuf> {
        let manifest = read_manifest(&self.pack).unwrap();
        let segments = manifest.tables[0].planes.iter().flat_map(|p| &p.segments);
        let mut sources: Vec<u32> = segments.map(|segment| segment.source).collect();
        sources.sort_unstable();
        sources.dedup();
        let names = sources
            .iter()
            .map(|&source| &manifest.sources[source as usize].name);
        names
            .map(|name| self.fixture.checkpoint().join(name))
            .collect()
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(self.layer, &self.rows)
    }

    fn is_served(&self, store: &Store, case: &str) {
        let found = look_up(store, self.layer, &self.rows).unwrap();
        assert!(found == self.bytes, "{case}");
    }

    /// Checks that every call says that one of `files` has changed.
    fn is_refused(&self, store: &Store, files: &[PathBuf], case: &str) {
        let one = [self.rows[0]];
        let submit = |buffer| {
            let submitted = store.submit(self.batch(), buffer);
            submitted.and_then(engram::Ticket::wait).map(drop)
        };
        let rows = self.rows.len();
        let refused = [
            look_up(store, self.layer, &self.rows).map(drop),
            look_up(store, self.layer, &one).map(drop),
            submit(store.buffer(self.layer, rows).unwrap()),
            submit(
                store
                    .value_buffer(self.layer, rows, ValueType::F32)
                    .unwrap(),
            ),
            store.warm(self.batch()),
        ];
        for answer in refused {
            let error = answer.unwrap_err();
            let LookupError::SourceChanged { layer, change } = &error else {
                panic!("{case}: {error}");
            };
            assert_eq!(*layer, self.layer, "{case}");
            assert!(files.contains(&change.path), "{case}: {error}");
            assert!(change.field.starts_with("time of the last"), "{case}");
            let said = error.to_string();
            for part in [&*change.expected, &*change.found, "open the pack again"] {
                assert!(said.contains(part), "{case}: {said}");
            }
        }
    }
}

/// Writes `bytes` over the file at `path` from byte `from` on.
fn write_in_place(path: &Path, from: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, from).unwrap();
}

/// Bytes before the tensors of a safetensors file, whose header is short here.
fn header_bytes(contents: &[u8]) -> usize {
    usize::from(contents[0]) + 256 * usize::from(contents[1]) + 8
}

#[test]
fn rows_of_a_file_that_was_written_in_place_are_refused() {
    // Rows in one part, which are cached, and in two.
    for family in ["demo", "deepseek"] {
        for (reader, cache_bytes) in READERS
            .iter()
            .flat_map(|reader| [0, 1 << 20].map(|bytes| (*reader, bytes)))
        {
            for puts_time_back in [false, true] {
                let case = format!("{family}, {reader:?}, {cache_bytes}, {puts_time_back}");
                let attached = Attached::new(family);
                let files = attached.sources();
                let config = Config::new().reader(reader).cache_bytes(cache_bytes);
                let store = Store::open(&attached.pack, config.clone()).unwrap();
                let half = attached.rows.len() / 2;
                look_up(&store, attached.layer, &attached.rows[..half]).unwrap();
                thread::sleep(TICK);
                for file in &files {
                    let before = fs::metadata(file).unwrap().modified().unwrap();
                    let contents = fs::read(file).unwrap();
                    let header = header_bytes(&contents);
                    let changed: Vec<u8> = contents[header..].iter().map(|byte| !byte).collect();
                    write_in_place(file, header as u64, &changed);
                    if puts_time_back {
                        let times = FileTimes::new().set_modified(before);
                        let file = File::options().write(true).open(file).unwrap();
                        file.set_times(times).unwrap();
                    }
                }
                if reader == Reader::Memory {
                    // Read when the pack was opened.
                    attached.is_served(&store, &case);
                } else {
                    attached.is_refused(&store, &files, &case);
                    // For good, even if the bytes are put back.
                    attached.is_refused(&store, &files, &case);
                }
                let again = Store::open(&attached.pack, config);
                assert!(matches!(again, Err(OpenError::Changed { .. })), "{case}");
            }
        }
    }
}

#[test]
fn files_that_only_have_another_name_or_other_rights_are_served() {
    for reader in READERS {
        let case = format!("{reader:?}");
        let attached = Attached::new("deepseek");
        let store = open(&attached.pack, reader);
        thread::sleep(TICK);
        for file in attached.sources() {
            // Another file takes the name; the old one is still open.
            let other = file.with_extension("other");
            fs::write(&other, vec![7; 100_000]).unwrap();
            fs::rename(&other, &file).unwrap();
        }
        attached.is_served(&store, &case);
        attached.is_served(&store, &case);
    }
    let attached = Attached::new("deepseek");
    let store = open(&attached.pack, Reader::Pread);
    for file in attached.sources() {
        let mut rights = fs::metadata(&file).unwrap().permissions();
        rights.set_readonly(true);
        fs::set_permissions(&file, rights).unwrap();
        fs::hard_link(&file, file.with_extension("link")).unwrap();
    }
    attached.is_served(&store, "other rights");
}

#[test]
fn what_was_read_of_a_changed_file_is_in_no_shared_cache() {
    let attached = Attached::new("demo");
    let cache = tempfile::tempdir().unwrap();
    let config = || {
        let config = Config::new().reader(Reader::Direct).cache_bytes(1 << 20);
        config.cache_folder(cache.path())
    };
    let files = attached.sources();
    let right: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let store = Store::open(&attached.pack, config()).unwrap();
    thread::sleep(TICK);
    for (file, right) in files.iter().zip(&right) {
        let start = right.len() / 2;
        write_in_place(file, start as u64, &vec![0x5A; right.len() - start]);
    }
    assert!(store.warm(attached.batch()).is_err());
    drop(store);
    for (file, right) in files.iter().zip(&right) {
        write_in_place(file, 0, right);
    }
    let store = Store::open(&attached.pack, config()).unwrap();
    attached.is_served(&store, "after the bytes were put back");
}

#[test]
fn a_ticket_never_has_rows_of_both() {
    for reader in [Reader::Direct, Reader::DirectThreads] {
        for _ in 0..5 {
            let attached = Attached::new("deepseek");
            let store = open(&attached.pack, reader);
            thread::sleep(TICK);
            let submit = || {
                let buffer = store.buffer(attached.layer, attached.rows.len())?;
                store.submit(attached.batch(), buffer)
            };
            thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    for file in attached.sources() {
                        let contents = fs::read(&file).unwrap();
                        for byte in (header_bytes(&contents)..contents.len()).step_by(37) {
                            write_in_place(&file, byte as u64, &[!contents[byte]]);
                        }
                    }
                });
                let error = loop {
                    let is_written = writer.is_finished();
                    match submit().and_then(engram::Ticket::wait) {
                        Ok(found) => assert!(*found == *attached.bytes, "{reader:?}"),
                        Err(error) => break error,
                    }
                    assert!(!is_written, "{reader:?}: nobody noticed");
                };
                let changed = matches!(error, LookupError::SourceChanged { .. });
                assert!(changed, "{error}");
            });
        }
    }
}
