//! Whatever the family, the reader and the way it was packed, rows are the checkpoint's bytes.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{fs, path::Path};

use engram::{Config, Reader, RowCodec, Store};
use engram_checkpoint::{Checkpoint, Family, Scales, TensorFiles};
use engram_pack::{BuildOptions, VerifyOptions, attach, build, verify};
use engram_tests::{
    Fixture, READERS, files, make_checkpoint, open, small_families, small_family, whole_tables,
};

/// The rows of each table, read from the tensors without any of the code under test but their places.
fn expected_tables(checkpoint: &Path, family: &Family, store: &Store) -> Vec<Vec<u8>> {
    let tensors = TensorFiles::open(checkpoint).unwrap();
    let bytes_of = |name: &str| {
        let tensor = tensors.get(name).unwrap();
        let file = fs::read(tensors.path(tensor.source)).unwrap();
        let start = usize::try_from(tensor.offset).unwrap();
        file[start..][..usize::try_from(tensor.bytes).unwrap()].to_vec()
    };
    (0..store.scheme().layers.len())
        .map(|index| {
            let table = family.table_tensors(store.scheme(), index);
            let values: Vec<u8> = table
                .values
                .iter()
                .flat_map(|tensor| bytes_of(&tensor.name))
                .collect();
            let layer = &store.scheme().layers[index];
            let rows = usize::try_from(layer.row_count).unwrap();
            let reachable = usize::try_from(layer.buckets.iter().sum::<u64>()).unwrap();
            let scales = match &table.scales {
                Scales::Rows { name, .. } => bytes_of(name),
                _ => Vec::new(),
            };
            let part = |bytes: &[u8], row: usize| {
                bytes[row * bytes.len() / rows..][..bytes.len() / rows].to_vec()
            };
            (0..reachable)
                .flat_map(|row| [part(&values, row), part(&scales, row)].concat())
                .collect()
        })
        .collect()
}

#[test]
fn every_family_and_every_reader() {
    for (name, family) in small_families() {
        let fixture = Fixture::new(name);
        let attached = fixture.folder().join("attached");
        attach(
            &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
            &attached,
        )
        .unwrap();
        for reader in READERS {
            let store = open(&fixture.pack(), reader);
            let expected = expected_tables(&fixture.checkpoint(), &family, &store);
            assert!(expected.iter().all(|table| table.len() > 1_000), "{name}");
            assert!(whole_tables(&store) == expected, "{name} {reader:?}");
            let unchecked = Store::open(
                fixture.pack(),
                Config::new().reader(reader).check_seals(false),
            )
            .unwrap();
            assert!(
                whole_tables(&unchecked) == expected,
                "{name} {reader:?} without seals"
            );
            assert!(
                whole_tables(&open(&attached, reader)) == expected,
                "{name} {reader:?} attached"
            );
        }
        for pack in [&fixture.pack(), &attached] {
            let report = verify(pack, &VerifyOptions::default(), &|_| ()).unwrap();
            assert_eq!(report.damage, [], "{name}");
            assert!(report.records > 0);
        }
    }
}

#[test]
fn packing_twice_gives_equal_files() {
    for (name, _) in small_families() {
        let fixture = Fixture::new(name);
        let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
        for jobs in [1, 7] {
            let again = fixture.folder().join(format!("again-{jobs}"));
            let options = BuildOptions {
                jobs,
                ..BuildOptions::default()
            };
            build(&checkpoint, &again, &options, &|_| ()).unwrap();
            assert!(
                files(&again) == files(&fixture.pack()),
                "{name} with {jobs} jobs"
            );
        }
    }
}

#[test]
fn equal_seeds_make_equal_checkpoints() {
    for (name, family) in small_families() {
        let folder = tempfile::tempdir().unwrap();
        let made = [(1, "a"), (1, "b"), (2, "c")].map(|(seed, to)| {
            make_checkpoint(&family, seed, &folder.path().join(to));
            files(&folder.path().join(to))
        });
        assert!(made[0] == made[1], "{name}");
        assert!(made[0] != made[2], "{name}");
    }
}

#[test]
fn an_attached_pack_follows_its_checkpoint() {
    let fixture = Fixture::new("deepseek");
    let attached = fixture.folder().join("attached");
    attach(
        &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
        &attached,
    )
    .unwrap();
    let moved = fixture.folder().join("moved");
    fs::rename(fixture.checkpoint(), &moved).unwrap();
    let refused = Store::open(&attached, Config::new())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("cannot open") && refused.contains("checkpoint/model-00001"),
        "{refused}"
    );
    let store = Store::open(&attached, Config::new().checkpoint(&moved)).unwrap();
    assert!(whole_tables(&store) == whole_tables(&open(&fixture.pack(), Reader::Pread)));
}

#[test]
fn codecs_are_those_of_the_models() {
    let scale_bits = |codec| match codec {
        RowCodec::Fp8Scaled { scale_bits, .. } => f32::from_bits(scale_bits),
        _ => f32::NAN,
    };
    let codec = |name| {
        let fixture = Fixture::new(name);
        let store = open(&fixture.pack(), Reader::Pread);
        store.codec(store.scheme().layers[0].id).unwrap()
    };
    assert_eq!(codec("demo"), RowCodec::F32 { width: 16 });
    assert_eq!(
        codec("deepseek"),
        RowCodec::Fp8Ue8m0 {
            width: 64,
            group: 32
        }
    );
    assert_eq!(codec("longcat"), RowCodec::Bf16 { width: 24 });
    assert!(scale_bits(codec("qwen")).is_finite());
}

#[test]
fn configurations_survive_their_json() {
    for (name, _) in small_families() {
        let fixture = Fixture::new(name);
        let mut read = Family::read(&fixture.checkpoint()).unwrap();
        if let Family::DeepSeek(config) = &mut read {
            assert!(config.row_counts.take().is_some());
        }
        assert_eq!(read, small_family(name));
    }
}
