//! A damaged, foreign or newer pack gives an error of its own, and never a wrong row.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use engram::{Batch, Config, LayerId, LookupError, Manifest, Reader, RowId, Store};
use engram_checkpoint::Checkpoint;
use engram_format::{HEADER_BYTES, shard_path};
use engram_pack::{VerifyOptions, VerifyReport, attach, verify};
use engram_tests::{
    Fixture, READERS, all_rows, files, look_up, make_checkpoint, make_pack, open, small_family,
    whole_tables,
};

/// Readers without threads.
const AT_ONCE: [Reader; 3] = [Reader::Memory, Reader::Mmap, Reader::Pread];
const SHARD: &str = "layer-01/order-2-head-0.shard";
/// Geometry of the family `deepseek`: 64 values, 2 scales, 6 bytes of padding, a seal.
const ROW_BYTES: usize = 66;
const STRIDE: usize = 80;
const GROUP_RECORDS: u64 = 51;

fn flip(path: &Path, offset: usize, bit: usize) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], offset as u64)
        .unwrap();
}

fn refusal(pack: &Path) -> String {
    let refusals = READERS.map(|reader| {
        Store::open(pack, Config::new().reader(reader))
            .unwrap_err()
            .to_string()
    });
    assert!(
        refusals.iter().all(|refused| *refused == refusals[0]),
        "{refusals:?}"
    );
    refusals[0].clone()
}

fn check(pack: &Path) -> VerifyReport {
    verify(pack, &VerifyOptions::default(), &|_| ()).unwrap()
}

fn edit_manifest(pack: &Path, edit: impl FnOnce(&mut Manifest)) {
    let path = pack.join("manifest.json");
    let mut manifest = Manifest::from_text(&fs::read(&path).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(path, manifest.to_text()).unwrap();
}

#[test]
fn every_bit_of_a_shard_matters() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.pack().join(SHARD);
    let sound = whole_tables(&open(&fixture.pack(), READERS[0])).remove(0);
    let size = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let last_row = (sound.len() / ROW_BYTES) as u64;
    let direct =
        [Reader::Direct, Reader::DirectThreads].map(|reader| open(&fixture.pack(), reader));
    // Every byte with one of its bits, so that the test stays short.
    for offset in 0..size {
        let bit = offset % 8;
        flip(&path, offset, bit);
        assert_eq!(check(&fixture.pack()).damage.len(), 1, "offset {offset}");
        if offset < HEADER_BYTES {
            assert!(refusal(&fixture.pack()).contains(SHARD), "offset {offset}");
        } else {
            let record = ((offset - HEADER_BYTES) / STRIDE) as u64;
            let look = |store: &Store, row: u64| {
                let at = usize::try_from(row).unwrap() * ROW_BYTES;
                match look_up(store, LayerId(1), &[RowId(row)]) {
                    Ok(bytes) => assert_eq!(bytes, sound[at..][..ROW_BYTES], "offset {offset}"),
                    Err(LookupError::Damaged { row: damaged, .. }) => {
                        assert_eq!((damaged.0, row), (record, record), "offset {offset}");
                    }
                    Err(other) => panic!("{other}"),
                }
            };
            for reader in AT_ONCE {
                let store = open(&fixture.pack(), reader);
                (0..last_row.min(GROUP_RECORDS)).for_each(|row| look(&store, row));
            }
            // They read the drive anew each time, so they may stay open, and take longer.
            for store in &direct {
                (record.saturating_sub(1)..last_row.min(record + 2))
                    .for_each(|row| look(store, row));
            }
        }
        flip(&path, offset, bit);
    }
    assert_eq!(check(&fixture.pack()).damage, []);
}

#[test]
fn a_damaged_record_is_named_with_its_place() {
    let fixture = Fixture::new("deepseek");
    flip(
        &fixture.pack().join(SHARD),
        HEADER_BYTES + 3 * STRIDE + 10,
        0,
    );
    for reader in READERS {
        let store = open(&fixture.pack(), reader);
        let refused = look_up(&store, LayerId(1), &all_rows(&store, 0)).unwrap_err();
        let place = format!(
            "{SHARD}: row 3 of layer 1 at offset {}",
            HEADER_BYTES + 3 * STRIDE
        );
        assert!(refused.to_string().contains(&place), "{refused}");
        assert_eq!(
            look_up(&store, LayerId(1), &[RowId(2), RowId(4)])
                .unwrap()
                .len(),
            2 * ROW_BYTES
        );
        let unchecked = Store::open(
            fixture.pack(),
            Config::new().reader(reader).check_seals(false),
        )
        .unwrap();
        assert!(look_up(&unchecked, LayerId(1), &[RowId(3)]).is_ok());
    }
    let damage = check(&fixture.pack()).damage;
    let [damage] = damage.as_slice() else {
        panic!("{damage:?}")
    };
    assert_eq!(
        (damage.file.as_str(), damage.row, damage.records),
        (SHARD, Some(3), 1)
    );
    assert_eq!(damage.offset, (HEADER_BYTES + 3 * STRIDE) as u64);
}

#[test]
fn a_damaged_long_record_is_named_wherever_it_is_in_a_batch() {
    let fixture = Fixture::new("long-rows");
    let manifest = open(&fixture.pack(), Reader::Pread).manifest().clone();
    let table = &manifest.tables[0];
    assert!(table.codec.row_bytes() > 240, "long for a hash");
    let column = manifest.scheme.columns(0).last().unwrap();
    let row = RowId(column.first_row + column.row_count - 1);
    let shard = shard_path(table.layer, &column);
    let offset = table.layout().record_offset(column.row_count - 1);
    for bit in [0, 8 * 100, 8 * (table.codec.row_bytes() - 1)] {
        let at = usize::try_from(offset).unwrap() + bit / 8;
        flip(&fixture.pack().join(&shard), at, 3);
        for reader in READERS {
            let store = open(&fixture.pack(), reader);
            // Last in the batch, and where another column is likely.
            let mut rows = all_rows(&store, 0);
            rows.reverse();
            rows.rotate_left(1);
            assert_eq!(rows.last(), Some(&row));
            let refused = look_up(&store, table.layer, &rows).unwrap_err().to_string();
            let place = format!(
                "{shard}: row {row} of layer {} at offset {offset}",
                table.layer
            );
            assert!(refused.contains(&place), "{refused}, expected {place}");
        }
        flip(&fixture.pack().join(&shard), at, 3);
    }
}

#[test]
fn swapped_records_are_caught_though_both_are_sound() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.pack().join(SHARD);
    let mut bytes = fs::read(&path).unwrap();
    let (first, second) = bytes[HEADER_BYTES..][..2 * STRIDE].split_at_mut(STRIDE);
    first.swap_with_slice(second);
    fs::write(&path, bytes).unwrap();
    let store = open(&fixture.pack(), READERS[1]);
    for row in [0, 1] {
        let refused = look_up(&store, LayerId(1), &[RowId(row)]);
        assert!(
            matches!(refused, Err(LookupError::Damaged { .. })),
            "{refused:?}"
        );
    }
    let damage = check(&fixture.pack()).damage;
    assert_eq!((damage[0].row, damage[0].records), (Some(0), 2));
}

#[test]
fn a_shard_of_another_pack_is_refused() {
    let fixture = Fixture::new("deepseek");
    let (other, pack) = (
        fixture.folder().join("other"),
        fixture.folder().join("other-pack"),
    );
    make_checkpoint(&small_family("deepseek"), 2, &other);
    make_pack(&other, &pack);
    fs::copy(pack.join(SHARD), fixture.pack().join(SHARD)).unwrap();
    let refused = refusal(&fixture.pack());
    assert!(
        refused.contains("data digest is") && refused.contains("belongs elsewhere"),
        "{refused}"
    );
    assert!(
        check(&fixture.pack()).damage[0]
            .what
            .contains("data digest")
    );
}

#[test]
fn another_column_in_a_shards_place_is_refused() {
    let fixture = Fixture::new("deepseek");
    fs::copy(
        fixture.pack().join("layer-03/order-2-head-0.shard"),
        fixture.pack().join(SHARD),
    )
    .unwrap();
    assert!(refusal(&fixture.pack()).contains("layer is 3, the manifest says 1"));
    let fixture = Fixture::new("longcat");
    let folder = fixture.pack().join("layer-00");
    let bytes = fs::read(folder.join("order-2-head-1.shard")).unwrap();
    fs::write(folder.join("order-2-head-0.shard"), bytes).unwrap();
    assert!(refusal(&fixture.pack()).contains("column is 1, the manifest says 0"));
}

#[test]
fn missing_cut_and_grown_files_are_refused() {
    let names = [SHARD, "token_map.u32le", "manifest.json"];
    for name in names {
        let fixture = Fixture::new("deepseek");
        let path = fixture.pack().join(name);
        let bytes = fs::read(&path).unwrap();
        for changed in [
            &bytes[..bytes.len() - 1],
            &[&bytes[..], b"\0"].concat(),
            &[],
        ] {
            fs::write(&path, changed).unwrap();
            assert!(refusal(&fixture.pack()).contains(name), "{name}");
            if name != "manifest.json" {
                assert_eq!(check(&fixture.pack()).damage[0].file, name);
            }
        }
        fs::remove_file(&path).unwrap();
        let refused = refusal(&fixture.pack());
        assert!(refused.contains(name), "{refused}");
    }
    assert!(refusal(Path::new("no/such/pack")).contains("no/such/pack holds no manifest.json"));
}

#[test]
fn a_damaged_token_map_is_refused() {
    let fixture = Fixture::new("deepseek");
    flip(&fixture.pack().join("token_map.u32le"), 17, 3);
    let refused = refusal(&fixture.pack());
    assert!(refused.contains("token map: checksum"), "{refused}");
    assert_eq!(check(&fixture.pack()).damage[0].file, "token_map.u32le");
}

#[test]
fn newer_versions_are_refused() {
    let fixture = Fixture::new("deepseek");
    flip(&fixture.pack().join(SHARD), 8, 1);
    let refused = refusal(&fixture.pack());
    assert!(
        refused.contains("format version is 3, this release reads up to 1"),
        "{refused}"
    );
    let manifest = fixture.pack().join("manifest.json");
    let text = fs::read_to_string(&manifest)
        .unwrap()
        .replace("\"version\":1}", "\"version\":4}");
    fs::write(&manifest, text).unwrap();
    assert!(refusal(&fixture.pack()).contains("format version is 4"));
}

#[test]
fn a_forged_manifest_is_caught_by_the_shards() {
    let fixture = Fixture::new("deepseek");
    edit_manifest(&fixture.pack(), |manifest| {
        manifest.scheme.layers[0].buckets.swap(0, 1)
    });
    assert!(refusal(&fixture.pack()).contains("the manifest says"));
    let fixture = Fixture::new("deepseek");
    edit_manifest(&fixture.pack(), |manifest| {
        manifest.scheme.hashed_vocab_size = 39
    });
    assert!(
        refusal(&fixture.pack()).contains("token 59 maps to 39")
            || refusal(&fixture.pack()).contains("expected below 39")
    );
}

#[test]
fn a_text_edit_of_the_manifest_is_refused() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.pack().join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"fill\":1", "\"fill\":2")).unwrap();
    let refused = refusal(&fixture.pack());
    assert!(refused.contains("manifest: checksum is"), "{refused}");
}

#[test]
fn a_changed_checkpoint_behind_an_attached_pack_is_noticed() {
    let fixture = Fixture::new("deepseek");
    let attached = fixture.folder().join("attached");
    attach(
        &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
        &attached,
    )
    .unwrap();
    let file = fixture
        .checkpoint()
        .join("model-00001-of-00002.safetensors");
    let sound = fs::read(&file).unwrap();

    flip(&file, 20, 0);
    assert!(refusal(&attached).contains("header before the tensors: checksum"));
    fs::write(&file, &sound[..sound.len() - 1]).unwrap();
    assert!(refusal(&attached).contains("size is"));
    fs::write(&file, &sound).unwrap();

    let manifest = Manifest::from_text(&fs::read(attached.join("manifest.json")).unwrap()).unwrap();
    let first_row = usize::try_from(manifest.tables[0].planes[0].segments[0].offset).unwrap();
    flip(&file, first_row, 0);
    let damage = check(&attached).damage;
    assert_eq!(
        (damage[0].row, damage[0].offset),
        (Some(0), first_row as u64)
    );
    assert!(damage[0].what.contains("differs from when"));
    let refused = refusal(&attached);
    assert!(
        refused.contains("row 0 of layer 1 has seal") && refused.contains("attach it again"),
        "{refused}"
    );

    fs::remove_file(&file).unwrap();
    let damage = check(&attached).damage;
    assert_eq!(damage.len(), 1);
    assert!(damage[0].what.contains("cannot open"), "{damage:?}");
}

#[test]
fn a_truncated_shard_names_the_records_it_lost() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.pack().join("layer-03/order-3-head-1.shard");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // The column has 53 rows: a group of 51 and one of 2, of which one and a half stay.
    file.set_len(2 * 4_096 + STRIDE as u64 * 3 / 2).unwrap();
    let report = check(&fixture.pack());
    let lost: Vec<_> = (report.damage.iter())
        .map(|damage| (damage.row, damage.records, damage.offset))
        .collect();
    let last = 41 + 43 + 47 + GROUP_RECORDS + 1;
    assert_eq!(
        lost,
        [
            (None, 0, 2 * 4_096 + STRIDE as u64 * 3 / 2),
            (Some(last), 1, (2 * 4_096 + STRIDE) as u64)
        ]
    );
    file.set_len(4_096).unwrap();
    let lost = check(&fixture.pack()).damage;
    assert_eq!(lost[1].records, 53, "{lost:?}");
    file.set_len(10).unwrap();
    let lost = check(&fixture.pack()).damage;
    assert_eq!(lost.len(), 3, "{lost:?}");
}

#[test]
fn rows_and_layers_that_are_not_there_are_refused() {
    for name in ["deepseek", "qwen"] {
        let fixture = Fixture::new(name);
        for reader in READERS {
            let store = open(&fixture.pack(), reader);
            let layer = store.scheme().layers[0].id;
            let row_count = all_rows(&store, 0).len() as u64;
            let refused = look_up(&store, layer, &[RowId(0), RowId(row_count)])
                .unwrap_err()
                .to_string();
            assert!(
                refused.starts_with(&format!(
                    "row {row_count} at index 1 of the batch is outside"
                )),
                "{refused}"
            );
            assert!(look_up(&store, layer, &[RowId(u64::MAX)]).is_err());
            let refused = look_up(&store, LayerId(99), &[]).unwrap_err().to_string();
            assert!(
                refused.starts_with("layer 99 has no table; the pack has layers [1"),
                "{refused}"
            );
            let batch = Batch::new(layer, &[RowId(0)]);
            let refused = store.lookup(batch, &mut [0; 3]).unwrap_err().to_string();
            assert!(
                refused.starts_with("the output has 3 bytes, 1 rows of"),
                "{refused}"
            );
        }
    }
}

#[test]
fn verify_counts_a_ruined_shard_as_one_place() {
    let fixture = Fixture::new("deepseek");
    let path = fixture.pack().join(SHARD);
    let mut bytes = fs::read(&path).unwrap();
    let rows = Manifest::from_text(&fs::read(fixture.pack().join("manifest.json")).unwrap())
        .unwrap()
        .scheme
        .layers[0]
        .buckets[0];
    let end = HEADER_BYTES + usize::try_from(rows).unwrap() * STRIDE;
    bytes[HEADER_BYTES..end].fill(0xEE);
    fs::write(&path, bytes).unwrap();
    let damage = check(&fixture.pack()).damage;
    assert_eq!(
        (damage.len(), damage[0].row, damage[0].records),
        (1, Some(0), rows)
    );
    let sampled = VerifyOptions {
        sample: Some(50.0),
        ..VerifyOptions::default()
    };
    assert!(
        !verify(&fixture.pack(), &sampled, &|_| ())
            .unwrap()
            .damage
            .is_empty()
    );
}

#[test]
fn nothing_here_writes_to_a_pack() {
    let fixture = Fixture::new("deepseek");
    let before: Vec<(PathBuf, Vec<u8>)> = files(&fixture.pack());
    for reader in READERS {
        whole_tables(&open(&fixture.pack(), reader));
    }
    check(&fixture.pack());
    assert!(files(&fixture.pack()) == before);
}
