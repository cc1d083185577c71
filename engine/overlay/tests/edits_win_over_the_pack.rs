//! What is served: the exact n-gram, then the edited row, then the pack; and all of a batch from one version.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are small"
)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use engram::{
    Batch, Columns, Config, LayerId, OwnedBatch, Reader, RowCodec, RowId, Sequence, Store,
    read_manifest,
};
use engram_cuda::{DeviceError, HotRows};
use engram_format::{EncodeError, ScaleType};
use engram_overlay::{EditError, EditedRows, Edits, Key, Shape};
use engram_tests::{Fixture, READERS, make_cold, sample_tokens, small_families};

mod common;
use common::{Map, change, expected, look_up, map_of, rows_for};

/// Readers that read cold packs, too.
const COLD_READERS: [Reader; 3] = [Reader::Memory, Reader::Direct, Reader::DirectThreads];

/// The n-grams of `order` in a text, newest token first.
fn ngrams(store: &Store, tokens: &[u32], order: usize) -> Vec<Vec<u32>> {
    let mut found = Vec::new();
    let hasher = store.hasher();
    let each = |window: &[u32]| found.push(window[..order].to_vec());
    hasher
        .extend_windows(&mut Sequence::new(), tokens, each)
        .unwrap();
    found
}

#[test]
fn the_exact_n_gram_wins_over_the_row_and_the_row_over_the_pack() {
    for (family, _) in small_families() {
        let fixture = Fixture::new(family);
        edits_win(family, &fixture.pack(), &READERS);
        let cold = fixture.folder().join("cold");
        make_cold(&fixture.pack(), &cold);
        let identity = |pack: &Path| Shape::of(&read_manifest(pack).unwrap()).identity();
        assert_eq!(identity(&cold), identity(&fixture.pack()), "{family}");
        edits_win(&format!("cold {family}"), &cold, &COLD_READERS);
    }
}

fn edits_win(family: &str, pack: &Path, readers: &[Reader]) {
    let manifest = read_manifest(pack).unwrap();
    for &reader in readers {
        let edited = Arc::new(EditedRows::new(&manifest));
        let config = Config::new().reader(reader);
        let plain = Store::open(pack, config.clone()).unwrap();
        let store = Store::open(pack, config.tier(edited.clone())).unwrap();
        let tokens = sample_tokens(&plain);
        let layers: Vec<LayerId> = edited.shape().layers().collect();
        let mut map = Map::new();
        let check = |map: &Map, what: &str| {
            assert_eq!(
                map_of(&edited.snapshot()),
                *map,
                "{family} {reader:?}: {what}"
            );
            let found = look_up(&store, &tokens);
            assert!(
                found == expected(&plain, map, &tokens),
                "{family} {reader:?}: {what}"
            );
        };
        check(&map, "no edits");

        // Every second row, so that n-grams read both kinds.
        let mut edits = Edits::new();
        for &layer in &layers {
            let rows: u64 = plain
                .columns(layer)
                .unwrap()
                .iter()
                .map(|c| c.row_count)
                .sum();
            for row in (0..rows).step_by(2) {
                let key = Key::Row(RowId(row));
                let rows = rows_for(edited.shape(), layer, &key, (row % 100) as u8);
                change(&mut edits, &mut map, layer, key, Some(rows));
            }
        }
        edited.apply(&edits).unwrap();
        check(&map, "edited rows");

        let mut edits = Edits::new();
        // A pack of order 1 has none.
        for order in 2..=edited.shape().max_order() {
            let byte = 199 + order as u8;
            let all = ngrams(&plain, &tokens, order);
            for (index, ngram) in all.iter().enumerate().step_by(3) {
                let layer = layers[index % layers.len()];
                let key = Key::NGram(ngram.clone());
                let rows = rows_for(edited.shape(), layer, &key, byte + index as u8 % 40);
                change(&mut edits, &mut map, layer, key, Some(rows));
            }
        }
        edited.apply(&edits).unwrap();
        check(&map, "exact n-grams over edited rows");

        let mut edits = Edits::new();
        let keys: Vec<(LayerId, Key)> = map.keys().step_by(2).cloned().collect();
        for (layer, key) in keys {
            change(&mut edits, &mut map, layer, key, None);
        }
        edited.apply(&edits).unwrap();
        check(&map, "half of them taken away");

        // Without n-grams nobody can tell which it is, and the row's edit is served.
        let batch_rows = [RowId(1), RowId(0), RowId(2)];
        let mut found = vec![0; 3 * store.codec(layers[0]).unwrap().row_bytes()];
        store
            .lookup(Batch::new(layers[0], &batch_rows), &mut found)
            .unwrap();
        for (row, found) in batch_rows.iter().zip(found.chunks_exact(found.len() / 3)) {
            if let Some(edit) = map.get(&(layers[0], Key::Row(*row))) {
                assert_eq!(edit, found);
            }
        }
    }
}

#[test]
fn other_n_grams_of_the_same_row_keep_theirs_where_one_is_edited_exactly() {
    let fixture = Fixture::new("deepseek");
    let plain = Store::open(fixture.pack(), Config::new()).unwrap();
    let edited = Arc::new(EditedRows::new(plain.manifest()));
    let hasher = plain.hasher();
    let layer = plain.scheme().layers[0].id;
    // Two 2-grams that share the row of head 0.
    let ids = plain.scheme().hashed_vocab_size;
    let row_of = |ngram: [u32; 2]| hasher.ngram_row(0, 0, &ngram);
    let mut pairs = (0..ids).flat_map(|a| (0..ids).map(move |b| [a, b]));
    let one = pairs.next().unwrap();
    let other = pairs.find(|&other| row_of(other) == row_of(one)).unwrap();
    let serve = |ngram: [u32; 2]| {
        let rows = [row_of(ngram)];
        // A batch of one column, as a rank would ask for.
        let ngrams = engram::NGrams::new(&ngram, 2, 1);
        let config = Config::new()
            .tier(edited.clone())
            .columns(Columns::Range(0..1));
        let store = Store::open(fixture.pack(), config).unwrap();
        let mut out = vec![0; store.codec(layer).unwrap().row_bytes()];
        store
            .lookup(Batch::new(layer, &rows).with_ngrams(ngrams), &mut out)
            .unwrap();
        out
    };
    let before = serve(other);
    let key = Key::NGram(one.to_vec());
    let mut edits = Edits::new();
    edits.set(layer, key.clone(), rows_for(edited.shape(), layer, &key, 7));
    edited.apply(&edits).unwrap();
    assert!(serve(one).iter().all(|&byte| byte == 7));
    assert_eq!(serve(other), before);

    // The edit of the row reaches both, but the exact entry is served before it.
    let key = Key::Row(row_of(one));
    let mut edits = Edits::new();
    edits.set(layer, key.clone(), rows_for(edited.shape(), layer, &key, 9));
    edited.apply(&edits).unwrap();
    assert!(serve(one).iter().all(|&byte| byte == 7));
    assert!(serve(other).iter().all(|&byte| byte == 9));
}

/// Ends the work of others, also where a test fails, which would wait for them otherwise.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_batch_is_of_one_version_which_its_ticket_tells() {
    let fixture = Fixture::new("deepseek");
    let manifest = read_manifest(fixture.pack()).unwrap();
    let edited = Arc::new(EditedRows::new(&manifest));
    let config = Config::new().tier(edited.clone()).gather_threads(2);
    let store = Store::open(fixture.pack(), config).unwrap();
    let layer = store.scheme().layers[0].id;
    let rows: u64 = store
        .columns(layer)
        .unwrap()
        .iter()
        .map(|c| c.row_count)
        .sum();
    let row_bytes = store.codec(layer).unwrap().row_bytes();
    let write_all = |byte: u8| {
        let mut edits = Edits::new();
        for row in 0..rows {
            edits.set(layer, Key::Row(RowId(row)), vec![byte; row_bytes]);
        }
        edited.apply(&edits).unwrap()
    };
    assert_eq!(write_all(1), 1);
    // Many pieces, so that versions change while a batch is served; large ones are gathered by several threads.
    let small: Vec<RowId> = (0..40_000).map(|index| RowId(index % rows)).collect();
    let owned: Arc<[RowId]> = small.clone().into();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut byte = 1;
            while !stop.load(Ordering::Relaxed) {
                byte = byte % 250 + 1;
                write_all(byte);
            }
        });
        let _stop = StopOnDrop(&stop);
        for round in 0..40 {
            let buffer = store.buffer(layer, small.len()).unwrap();
            let (version, found) = match round % 3 {
                0 => {
                    let mut out = vec![0; small.len() * row_bytes];
                    store.lookup(Batch::new(layer, &small), &mut out).unwrap();
                    (None, out)
                }
                1 => {
                    let ticket = store.submit(Batch::new(layer, &small), buffer).unwrap();
                    (Some(ticket.version()), ticket.wait().unwrap().to_vec())
                }
                _ => {
                    let batch = OwnedBatch::new(layer, owned.clone());
                    let ticket = store.submit_owned(batch, buffer).unwrap();
                    (Some(ticket.version()), ticket.wait().unwrap().to_vec())
                }
            };
            assert!(
                found.iter().all(|&byte| byte == found[0]),
                "round {round} is mixed"
            );
            if let Some(version) = version {
                // Version n has the n-th byte of the cycle.
                assert_eq!(
                    u64::from(found[0]),
                    (version - 1) % 250 + 1,
                    "round {round}"
                );
            }
        }
    });
}

#[test]
fn a_snapshot_stays_as_it_is() {
    let fixture = Fixture::new("demo");
    let manifest = read_manifest(fixture.pack()).unwrap();
    let edited = EditedRows::new(&manifest);
    let layer = edited.shape().layers().next().unwrap();
    let key = |row| Key::Row(RowId(row));
    let mut maps = Vec::new();
    let mut map = Map::new();
    for round in 0..50 {
        let mut edits = Edits::new();
        for row in 0..20_u64 {
            let rows = (row * 7 + u64::from(round)) % 3;
            let data = rows_for(edited.shape(), layer, &key(row), round);
            change(
                &mut edits,
                &mut map,
                layer,
                key(row),
                (rows > 0).then_some(data),
            );
        }
        edited.apply(&edits).unwrap();
        maps.push((edited.snapshot(), map.clone()));
    }
    for (index, (snapshot, map)) in maps.iter().enumerate() {
        assert_eq!(snapshot.version(), index as u64 + 1);
        assert_eq!(map_of(snapshot), *map);
    }
}

#[test]
fn a_store_of_some_columns_serves_their_heads() {
    let fixture = Fixture::new("deepseek");
    let manifest = read_manifest(fixture.pack()).unwrap();
    let edited = Arc::new(EditedRows::new(&manifest));
    let whole = Store::open(fixture.pack(), Config::new().tier(edited.clone())).unwrap();
    let tokens = sample_tokens(&whole);
    let layer = whole.scheme().layers[0].id;
    let row_bytes = whole.codec(layer).unwrap().row_bytes();
    let mut edits = Edits::new();
    for order in [2, 3] {
        for ngram in ngrams(&whole, &tokens, order) {
            let heads =
                (0..edited.shape().heads()).flat_map(|head| vec![head as u8 + 1; row_bytes]);
            edits.set(layer, Key::NGram(ngram), heads.collect::<Vec<u8>>());
        }
    }
    edited.apply(&edits).unwrap();
    let all = look_up(&whole, &tokens).remove(0);
    let columns = whole.columns(layer).unwrap().len();
    for rank in 0..2 {
        let columns_of_rank = Columns::Rank { rank, ranks: 2 };
        let config = Config::new().tier(edited.clone()).columns(columns_of_rank);
        let store = Store::open(fixture.pack(), config).unwrap();
        let found = look_up(&store, &tokens).remove(0);
        let half = columns / 2 * row_bytes;
        let expected = all.chunks_exact(columns * row_bytes);
        let expected = expected.flat_map(|row| &row[rank as usize * half..][..half]);
        assert!(expected.eq(&found), "rank {rank}");
    }
}

#[test]
fn edits_that_do_not_fit_are_refused_and_the_rest_of_their_batch_with_them() {
    let fixture = Fixture::new("deepseek");
    let manifest = read_manifest(fixture.pack()).unwrap();
    let edited = EditedRows::new(&manifest);
    let layer = manifest.tables[0].layer;
    let bytes = manifest.tables[0].codec.row_bytes();
    let (row, ngram) = (Key::Row(RowId(0)), Key::NGram(vec![1, 2]));
    let refuse = |layer: LayerId, key: Key, data: engram_overlay::RowData| {
        let mut edits = Edits::new();
        edits.set(
            manifest.tables[0].layer,
            Key::Row(RowId(1)),
            vec![1_u8; bytes],
        );
        edits.set(layer, key, data);
        let refused = edited.apply(&edits).unwrap_err();
        assert_eq!(edited.snapshot().version(), 0);
        assert!(map_of(&edited.snapshot()).is_empty());
        refused
    };
    let refused = refuse(LayerId(77), row.clone(), vec![0_u8; bytes].into());
    assert!(
        matches!(refused, EditError::UnknownLayer { .. }),
        "{refused}"
    );
    let rows = manifest
        .scheme
        .columns(0)
        .map(|column| column.row_count)
        .sum();
    let refused = refuse(layer, Key::Row(RowId(rows)), vec![0_u8; bytes].into());
    assert!(
        matches!(refused, EditError::RowOutOfRange { .. }),
        "{refused}"
    );
    for found in [0, bytes - 1, 2 * bytes] {
        let refused = refuse(layer, row.clone(), vec![0_u8; found].into());
        assert!(
            matches!(refused, EditError::RowBytes { rows: 1, .. }),
            "{refused}"
        );
    }
    let refused = refuse(layer, ngram.clone(), vec![0_u8; bytes].into());
    assert!(
        matches!(refused, EditError::RowBytes { rows: 2, .. }),
        "{refused}"
    );
    let refused = refuse(layer, row.clone(), vec![0_f32; 1].into());
    assert!(matches!(refused, EditError::RowValues { .. }), "{refused}");
    for ids in [vec![], vec![1], vec![1; 4], vec![1; 300]] {
        let refused = refuse(layer, Key::NGram(ids), vec![0_u8; bytes].into());
        assert!(
            matches!(refused, EditError::Order { max_order: 3, .. }),
            "{refused}"
        );
    }
    let refused = refuse(layer, Key::NGram(vec![1, 40]), vec![0_u8; 2 * bytes].into());
    assert!(
        matches!(refused, EditError::UnknownId { id: 40, vocab: 40 }),
        "{refused}"
    );
    let width = manifest.tables[0].codec.width();
    let refused = refuse(layer, row, vec![f32::NAN; width].into());
    assert!(
        matches!(
            refused,
            EditError::Value {
                cause: EncodeError::NotFinite {
                    row: 0,
                    value: 0,
                    ..
                },
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn keys_that_a_pack_cannot_have_are_told_and_not_looked_for() {
    for (family, _) in small_families() {
        let fixture = Fixture::new(family);
        let edited = EditedRows::new(&read_manifest(fixture.pack()).unwrap());
        let (snapshot, shape) = (edited.snapshot(), edited.shape());
        let layer = shape.layers().next().unwrap();
        let get = |key: Key| snapshot.get(layer, &key).unwrap_err();
        for ids in [
            vec![],
            vec![1],
            vec![1; shape.max_order() + 1],
            vec![1; 300],
        ] {
            let refused = get(Key::NGram(ids));
            let is_told = match shape.max_order() {
                1 => refused == EditError::NoNGrams,
                _ => matches!(refused, EditError::Order { .. }),
            };
            assert!(is_told, "{family}: {refused}");
        }
        let refused = get(Key::Row(RowId(u64::MAX)));
        assert!(
            matches!(refused, EditError::RowOutOfRange { .. }),
            "{family}: {refused}"
        );
        assert_eq!(snapshot.get(layer, &Key::Row(RowId(0))), Ok(None));
    }
}

#[test]
fn values_are_encoded_for_every_codec_and_under_the_scale_of_their_table() {
    let (width, group, scale) = (256, 32, ScaleType::F16);
    let scale_bits = 0.125_f32.to_bits();
    let codecs = [
        RowCodec::F32 { width },
        RowCodec::F16 { width },
        RowCodec::Bf16 { width },
        RowCodec::Fp8Ue8m0 { width, group },
        RowCodec::Fp8Scaled { width, scale_bits },
        RowCodec::Fp8 { width },
        RowCodec::Fp8Grouped {
            width,
            group,
            scale,
        },
        RowCodec::Int8 {
            width,
            group,
            scale,
        },
        RowCodec::Int4 {
            width,
            group,
            scale,
        },
        RowCodec::Nvfp4 { width, scale_bits },
        RowCodec::Mxfp4 { width },
        RowCodec::Q8_0 { width },
        RowCodec::Q4_0 { width },
        RowCodec::Iq4Nl { width },
        RowCodec::Mxfp4Gguf { width },
        RowCodec::Nvfp4Gguf { width, scale_bits },
        RowCodec::Q4K { width },
        RowCodec::Q5K { width },
    ];
    let fixture = Fixture::new("deepseek");
    let mut manifest = read_manifest(fixture.pack()).unwrap();
    let layer = manifest.tables[0].layer;
    let heads = manifest.scheme.heads as usize;
    for codec in codecs {
        manifest.tables[0].codec = codec;
        let edited = EditedRows::new(&manifest);
        let values: Vec<f32> = (0..heads * codec.width())
            .map(|index| (index * 37 % 97) as f32 / 48.0 - 1.0)
            .collect();
        let key = Key::NGram(vec![1, 2]);
        let mut edits = Edits::new();
        edits.set(layer, key.clone(), values.clone());
        edited.apply(&edits).unwrap();
        let snapshot = edited.snapshot();
        let rows = snapshot.get(layer, &key).unwrap().unwrap();
        let mut found = vec![0.0; values.len()];
        codec.decode_f32(rows, &mut found);
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
        let error = square(&mut values.iter().zip(&found).map(|(a, b)| a - b));
        let relative = (error / square(&mut values.iter().copied())).sqrt();
        // Four bits leave about a tenth.
        assert!(relative < 0.15, "{}: {relative}", codec.name());
        let mut edits = Edits::new();
        edits.set(layer, key, vec![f32::INFINITY; values.len()]);
        let refused = edited.apply(&edits).unwrap_err();
        assert!(matches!(refused, EditError::Value { .. }), "{refused}");
    }
}

#[test]
fn values_are_served_as_they_were_given() {
    let fixture = Fixture::new("deepseek");
    let manifest = read_manifest(fixture.pack()).unwrap();
    let edited = Arc::new(EditedRows::new(&manifest));
    let store = Store::open(fixture.pack(), Config::new().tier(edited.clone())).unwrap();
    let layer = manifest.tables[0].layer;
    let width = store.codec(layer).unwrap().width();
    let values: Vec<f32> = (0..width)
        .map(|index| (index % 16) as f32 * 0.25 - 1.0)
        .collect();
    let mut edits = Edits::new();
    edits.set(layer, Key::Row(RowId(3)), values.clone());
    edited.apply(&edits).unwrap();
    let mut found = vec![0.0_f32; width];
    store
        .lookup_values(Batch::new(layer, &[RowId(3)]), &mut found[..])
        .unwrap();
    assert_eq!(found, values);
    // Copies elsewhere would not follow the next edit.
    assert!(store.resident_columns(layer).unwrap().1.is_empty());
    let device = engram_cuda::Device::host();
    let refused = HotRows::load(&device, &Arc::new(store), layer, &[RowId(3)], 1 << 20);
    assert!(matches!(refused, Err(DeviceError::RowsChange { .. })));
}
