//! Ranks that open only their columns give together what a whole store gives, and touch nothing else.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use engram::{
    Batch, Columns, ColumnsError, Config, Io, IoError, LayerId, LookupError, NGrams, OpenError,
    Reader, Resident, RowId, RowIds, RowsMut, Sequence, Store, SystemIo, Tier, Wanted,
    read_manifest, shard_paths,
};
use engram_checkpoint::Checkpoint;
use engram_io::{Access, DirectFile, EngineRequest, ReadAt, ReadEngine};
use engram_pack::attach;
use engram_tests::{
    Fixture, READERS, all_rows, count, look_up, make_striped, open, sample_rows, sample_text,
    sample_tokens, small_families,
};

fn rank(rank: u32, ranks: u32) -> Columns {
    Columns::Rank { rank, ranks }
}

/// The bytes that a store gives for the sample tokens: of each layer, `[token][column]`.
fn rows(store: &Store) -> Vec<Vec<Vec<u8>>> {
    let ids = sample_rows(store);
    let batches = ids.batches().map(|batch| {
        let columns = store.columns(batch.layer()).unwrap().len();
        assert_eq!(batch.len(), ids.positions() * columns);
        let bytes = look_up(store, batch.layer(), batch.row_ids()).unwrap();
        let row_bytes = store.codec(batch.layer()).unwrap().row_bytes();
        let tokens = bytes.chunks(row_bytes * columns.max(1));
        tokens.map(<[u8]>::to_vec).collect()
    });
    batches.collect()
}

/// The columns of ranks side by side, as an all-gather puts them.
fn gathered(ranks: &[Vec<Vec<Vec<u8>>>]) -> Vec<Vec<Vec<u8>>> {
    let layers = 0..ranks[0].len();
    let layer = |layer: usize| {
        let tokens = 0..ranks[0][layer].len();
        let token = |token: usize| {
            ranks
                .iter()
                .flat_map(|rank| rank[layer][token].clone())
                .collect()
        };
        tokens.map(token).collect()
    };
    layers.map(layer).collect()
}

fn attached(fixture: &Fixture) -> PathBuf {
    let pack = fixture.folder().join("attached");
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
    attach(&checkpoint, &pack).unwrap();
    pack
}

#[test]
fn for_every_family_reader_and_kind_of_pack() {
    for (name, _) in small_families() {
        let fixture = Fixture::new(name);
        for pack in [fixture.pack(), attached(&fixture)] {
            let whole = open(&pack, Reader::Pread);
            let (expected, columns) = (rows(&whole), whole.scheme().column_count());
            for reader in READERS {
                for ranks in [1, 2, 3, 4]
                    .into_iter()
                    .filter(|ranks| *ranks as usize <= columns)
                {
                    let open = |r| {
                        let config = Config::new().reader(reader).columns(rank(r, ranks));
                        rows(&Store::open(&pack, config).unwrap())
                    };
                    let found: Vec<_> = (0..ranks).map(open).collect();
                    assert!(
                        gathered(&found) == expected,
                        "{name}, {reader:?}, {ranks} ranks"
                    );
                }
            }
        }
    }
}

/// The files of a pack that a store with these columns needs.
fn needed(pack: &Path, columns: &Columns) -> BTreeSet<PathBuf> {
    let manifest = read_manifest(pack).unwrap();
    let paths = shard_paths(pack, &manifest, &[].into()).unwrap();
    let ranges = columns.ranges(&manifest.scheme).unwrap();
    let paths = paths.into_iter().zip(ranges).flat_map(|(paths, range)| {
        let range = range.start as usize..range.end as usize;
        paths[range].to_vec()
    });
    paths.collect()
}

/// The system's files, and the paths of all that were opened.
#[derive(Debug, Default)]
struct Noted(Mutex<BTreeSet<PathBuf>>);

impl Io for Noted {
    fn open(&self, path: &Path, access: Access) -> Result<Box<dyn ReadAt>, IoError> {
        self.0.lock().unwrap().insert(path.into());
        SystemIo.open(path, access)
    }

    fn open_direct(&self, path: &Path) -> Result<DirectFile, IoError> {
        self.0.lock().unwrap().insert(path.into());
        SystemIo.open_direct(path)
    }

    fn engine(
        &self,
        request: EngineRequest,
        files: &Arc<[DirectFile]>,
        slot_bytes: usize,
    ) -> Result<Box<dyn ReadEngine>, IoError> {
        SystemIo.engine(request, files, slot_bytes)
    }
}

#[test]
fn no_other_file_is_opened_or_need_be_there() {
    let fixture = Fixture::new("deepseek");
    let whole = rows(&open(&fixture.pack(), Reader::Pread));
    let columns = rank(1, 2);
    let needed = needed(&fixture.pack(), &columns);
    for path in engram_tests::files(&fixture.pack()) {
        let path = fixture.pack().join(path.0);
        if path.extension().is_some_and(|kind| kind == "shard") && !needed.contains(&path) {
            fs::remove_file(path).unwrap();
        }
    }
    let shared = tempfile::tempdir().unwrap();
    let mut configs: Vec<Config> = READERS.map(|reader| Config::new().reader(reader)).to_vec();
    configs.extend([
        Config::new().resident(Resident::Bytes(1 << 20)),
        Config::new()
            .resident(Resident::Orders(3))
            .resident_folder(shared.path()),
        Config::new()
            .cache_folder(shared.path())
            .cache_bytes(1 << 20),
    ]);
    for config in configs {
        let noted = Arc::new(Noted::default());
        let with_columns = config
            .clone()
            .columns(columns.clone())
            .file_access(noted.clone());
        let store = Store::open(fixture.pack(), with_columns).unwrap();
        for (found, whole) in rows(&store).iter().zip(&whole) {
            let halves = whole.iter().map(|token| token[token.len() / 2..].to_vec());
            assert!(halves.eq(found.iter().cloned()), "{config:?}");
        }
        let opened = noted.0.lock().unwrap().clone();
        let opened = opened
            .into_iter()
            .filter(|path| path.starts_with(fixture.pack()));
        assert_eq!(opened.collect::<BTreeSet<_>>(), needed, "{config:?}");
        assert!(
            Store::open(
                fixture.pack(),
                config.reader(Reader::Pread).resident(Resident::None)
            )
            .is_err()
        );
    }
}

#[test]
fn no_checkpoint_file_without_its_rows_need_be_there() {
    let mut gone = 0;
    for (name, _) in small_families() {
        let fixture = Fixture::new(name);
        let pack = attached(&fixture);
        let manifest = read_manifest(&pack).unwrap();
        let last = u32::try_from(manifest.scheme.column_count()).unwrap() - 1;
        let columns = Columns::Range(last..last + 1);
        let expected = rows(&Store::open(&pack, Config::new().columns(columns.clone())).unwrap());
        for source in &manifest.sources {
            let (path, away) = (
                fixture.checkpoint().join(&source.name),
                fixture.folder().join("away"),
            );
            let has_rows = manifest.tables.iter().enumerate().any(|(index, table)| {
                let column = manifest.scheme.columns(index).last().unwrap();
                let mut segments = table.planes.iter().flat_map(|plane| &plane.segments);
                segments.any(|segment| {
                    manifest.sources[segment.source as usize].name == source.name
                        && segment.first_row < column.first_row + column.row_count
                        && column.first_row < segment.first_row + segment.row_count
                })
            });
            fs::rename(&path, &away).unwrap();
            for reader in READERS {
                let opened =
                    Store::open(&pack, Config::new().reader(reader).columns(columns.clone()));
                assert_eq!(opened.is_err(), has_rows, "{name}, {}", source.name);
                if let Ok(store) = opened {
                    gone += 1;
                    assert!(rows(&store) == expected, "{name}, {reader:?}");
                }
            }
            fs::rename(&away, &path).unwrap();
        }
    }
    assert!(gone > 0, "a checkpoint has its tables in several files");
}

#[test]
fn rows_of_other_columns_are_refused_by_name() {
    let fixture = Fixture::new("deepseek");
    for pack in [fixture.pack(), attached(&fixture)] {
        for reader in READERS {
            let store = Store::open(
                &pack,
                Config::new().reader(reader).columns(Columns::Range(1..3)),
            )
            .unwrap();
            let layer = store.scheme().layers[0].id;
            let open = store.columns(layer).unwrap();
            assert_eq!(
                open.iter().map(|column| column.index).collect::<Vec<_>>(),
                [1, 2]
            );
            let (first, last) = (open[0].first_row, open[1].first_row + open[1].row_count - 1);
            look_up(&store, layer, &[RowId(first), RowId(last)]).unwrap();
            for (row, expected) in [(0, 0), (first - 1, 0), (last + 1, 3)] {
                let refused = look_up(&store, layer, &[RowId(first), RowId(row)]).unwrap_err();
                let LookupError::ColumnNotOpen {
                    index: 1,
                    column,
                    open,
                    ..
                } = &refused
                else {
                    panic!("{refused:?}");
                };
                assert_eq!((*column, open), (expected, &(1..3)));
                let buffer = store.buffer(layer, 1).unwrap();
                let row = [RowId(row)];
                assert!(store.submit(Batch::new(layer, &row), buffer).is_err());
                assert!(store.warm(Batch::new(layer, &row)).is_err());
                assert!(store.check(Batch::new(layer, &row)).is_err());
            }
            let rows = all_rows(&store, 0).len() as u64;
            let refused = look_up(&store, layer, &[RowId(rows)]).unwrap_err();
            assert!(
                matches!(refused, LookupError::RowOutOfRange { row_count, .. } if row_count == rows)
            );
        }
    }
}

#[test]
fn layers_without_columns_have_no_files_and_no_rows() {
    let fixture = Fixture::new("deepseek");
    let layers: Vec<LayerId> = read_manifest(fixture.pack())
        .unwrap()
        .scheme
        .layers
        .iter()
        .map(|l| l.id)
        .collect();
    fs::remove_dir_all(fixture.pack().join("layer-01")).unwrap();
    for reader in READERS {
        let columns = Columns::Layers([(layers[1], 1..4)].into());
        let store = Store::open(
            fixture.pack(),
            Config::new().reader(reader).columns(columns),
        )
        .unwrap();
        let mut ids = RowIds::with_ngrams();
        store
            .hasher()
            .extend(&mut Sequence::new(), &sample_tokens(&store), &mut ids)
            .unwrap();
        let lens: Vec<usize> = ids.batches().map(|batch| batch.len()).collect();
        assert_eq!(lens, [0, 3 * ids.positions()]);
        for batch in ids.batches() {
            let mut out = vec![0; batch.len() * store.codec(batch.layer()).unwrap().row_bytes()];
            store.lookup(batch, &mut out).unwrap();
        }
        assert!(store.columns(layers[0]).unwrap().is_empty());
        let refused = look_up(&store, layers[0], &[RowId(0)]).unwrap_err();
        assert!(
            matches!(refused, LookupError::ColumnNotOpen { column: 0, .. }),
            "{refused}"
        );
        assert_eq!(store.metrics().tables.len(), 2);
    }
}

#[test]
fn columns_that_a_pack_has_not_are_refused() {
    let fixture = Fixture::new("longcat");
    let unknown = Columns::Layers([(LayerId(900), 0..1)].into());
    for columns in [rank(2, 2), rank(0, 99), Columns::Range(3..99), unknown] {
        let refused = Store::open(fixture.pack(), Config::new().columns(columns)).unwrap_err();
        assert!(matches!(refused, OpenError::Columns { .. }), "{refused:?}");
    }
    let config = Config::from_json(r#"{"columns": {"rank": 4, "ranks": 4}}"#).unwrap();
    let refused = Store::open(fixture.pack(), config).unwrap_err();
    let OpenError::Columns {
        cause: ColumnsError::Rank {
            rank: 4, ranks: 4, ..
        },
        ..
    } = refused
    else {
        panic!("{refused:?}");
    };
}

/// Checks that each row is the one that its n-gram has in its column, and serves nothing.
#[derive(Debug)]
struct Checks(engram::Hasher);

impl Tier for Checks {
    fn serve(&self, wanted: &mut Wanted<'_>, _: &mut RowsMut<'_>) -> Result<(), LookupError> {
        let (columns, layer) = (
            wanted.columns(),
            self.0.scheme().layer_index(wanted.layer()),
        );
        for row in wanted.rows() {
            let column = columns[usize::from(row.column)];
            let ngram = wanted.ngram(row).unwrap();
            let expected = self
                .0
                .ngram_row(layer.unwrap(), column.index as usize, ngram);
            assert_eq!(row.row_id, expected);
        }
        Ok(())
    }
}

#[test]
fn ngrams_are_those_of_the_columns() {
    let fixture = Fixture::new("qwen");
    let hasher = engram::read_hasher(fixture.pack()).unwrap();
    let config = Config::new()
        .columns(rank(1, 2))
        .tier(Arc::new(Checks(hasher.clone())));
    let store = Store::open(fixture.pack(), config).unwrap();
    let mut ids = RowIds::with_ngrams();
    let text = sample_text(&hasher);
    store
        .hasher()
        .extend(&mut Sequence::new(), &text, &mut ids)
        .unwrap();
    for batch in ids.batches() {
        let mut out = vec![0; batch.len() * store.codec(batch.layer()).unwrap().row_bytes()];
        store.lookup(batch, &mut out).unwrap();
        // As of a hasher of all columns.
        let rows = &batch.row_ids()[..4];
        let wrong = Batch::new(batch.layer(), rows).with_ngrams(NGrams::new(&[0; 3], 3, 4));
        let refused = store.check(wrong).unwrap_err();
        assert!(
            matches!(refused, LookupError::NGramShape { columns: 2, .. }),
            "{refused}"
        );
    }
}

#[test]
fn a_profile_seeds_the_rows_of_open_columns_alone() {
    let fixture = Fixture::new("deepseek");
    let hasher = engram::read_hasher(fixture.pack()).unwrap();
    let text = sample_text(&hasher);
    let profile = fixture.folder().join("text.profile");
    fs::write(&profile, count(&hasher, &text, usize::MAX).to_bytes()).unwrap();
    let seeded = |columns: Columns| {
        let config = Config::new()
            .columns(columns)
            .cache_bytes(1 << 20)
            .profile(&profile);
        let store = Store::open(fixture.pack(), config).unwrap();
        let seeded = store.wait_seeded().unwrap();
        let before: u64 = store.metrics().tables.iter().map(|table| table.reads).sum();
        let mut ids = RowIds::new();
        store
            .hasher()
            .extend(&mut Sequence::new(), &text, &mut ids)
            .unwrap();
        for batch in ids.batches() {
            look_up(&store, batch.layer(), batch.row_ids()).unwrap();
            let columns = store.metrics().tables[0].columns.len();
            assert_eq!(columns, store.columns(batch.layer()).unwrap().len());
        }
        let after: u64 = store.metrics().tables.iter().map(|table| table.reads).sum();
        assert_eq!(after, before, "all rows of the text were in the cache");
        seeded
    };
    let parts = [seeded(rank(0, 2)), seeded(rank(1, 2))];
    assert!(parts.iter().all(|part| *part > 0));
    assert_eq!(parts[0] + parts[1], seeded(Columns::All));
}

#[test]
fn balanced_ranks_read_about_as_much_each() {
    let fixture = Fixture::new("deepseek");
    let hasher = engram::read_hasher(fixture.pack()).unwrap();
    let profile = count(&hasher, &sample_text(&hasher), usize::MAX);
    let scheme = hasher.scheme();
    let without_cache = Columns::balanced(scheme, &profile, 0, 2).unwrap();
    assert_eq!(without_cache, [Columns::Range(0..2), Columns::Range(2..4)]);
    // With all 2-grams cached, their columns weigh nothing.
    let cached = profile.order(2).unwrap().iter().count() * 2 + 10_000;
    for columns in Columns::balanced(scheme, &profile, cached, 4).unwrap() {
        Store::open(fixture.pack(), Config::new().columns(columns)).unwrap();
    }
    assert!(Columns::balanced(scheme, &profile, 0, 5).is_err());
    assert!(Columns::balanced(scheme, &profile, 0, 0).is_err());
}

#[test]
fn a_stripe_without_its_columns_may_be_missing() {
    let fixture = Fixture::new("deepseek");
    let [pack, first, second] =
        ["striped", "first", "second"].map(|name| fixture.folder().join(name));
    make_striped(&fixture.checkpoint(), &pack, &[first.clone(), second]);
    let whole = rows(&open(&pack, Reader::Pread));
    fs::remove_dir_all(first).unwrap();
    for reader in READERS {
        let config = |column| {
            Config::new()
                .reader(reader)
                .columns(Columns::Range(column..column + 1))
        };
        let store = Store::open(&pack, config(1)).unwrap();
        for (found, whole) in rows(&store).iter().zip(&whole) {
            let quarters = whole
                .iter()
                .map(|token| token[token.len() / 4..token.len() / 2].to_vec());
            assert!(quarters.eq(found.iter().cloned()));
        }
        let refused = Store::open(&pack, config(0)).unwrap_err();
        assert!(
            matches!(refused, OpenError::StripeMissing { stripe: 0, .. }),
            "{refused}"
        );
    }
}
