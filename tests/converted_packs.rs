//! A converted pack has the rows of its source as its codec tells them, and says where they come from.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use engram::{Config, LayerId, Reader, RowCodec, Store, read_manifest};
use engram_checkpoint::Checkpoint;
use engram_pack::{ConvertOptions, ConvertReport, VerifyOptions, attach, convert, verify};
use engram_tests::{Fixture, files, make_striped, open, python, whole_tables};

fn options(codec: &str) -> ConvertOptions {
    ConvertOptions {
        jobs: 2,
        ..ConvertOptions::to(codec.parse().unwrap())
    }
}

fn run(pack: &Path, output: &Path, codec: &str) -> Result<ConvertReport> {
    convert(pack, output, &options(codec), &|_| ())
}

/// The values of every table, in order.
fn values(pack: &Path) -> Vec<Vec<f32>> {
    let store = open(pack, Reader::Pread);
    let tables = store.manifest().tables.iter().zip(whole_tables(&store));
    let tables = tables.map(|(table, bytes)| {
        let rows = bytes.len() / table.codec.row_bytes();
        let mut values = vec![0.0; rows * table.codec.width()];
        table.codec.decode_f32(&bytes, &mut values);
        values
    });
    tables.collect()
}

fn assert_sound(pack: &Path) {
    let report = verify(pack, &VerifyOptions::default(), &|_| ()).unwrap();
    assert!(
        report.damage.is_empty() && report.unread.is_empty(),
        "{report:?}"
    );
}

#[test]
fn rows_are_those_of_the_source_encoded_anew() {
    for (family, codecs) in [
        (
            "deepseek",
            &["q8_0", "bf16", "int4:group=32", "nvfp4", "fp8_e4m3_scaled"][..],
        ),
        (
            "qwen",
            &["fp8_e4m3_ue8m0:group=16", "int8", "int4:group=16"],
        ),
        ("longcat", &["f32", "f16"]),
        ("long-rows", &["int8:scale=bf16"]),
    ] {
        let fixture = Fixture::new(family);
        let source = values(&fixture.pack());
        let from = read_manifest(fixture.pack()).unwrap();
        for codec in codecs {
            let output = fixture.folder().join(codec);
            let report = run(&fixture.pack(), &output, codec).unwrap();
            assert_sound(&output);
            let found = whole_tables(&open(&output, Reader::Direct));
            let to = read_manifest(&output).unwrap();
            assert_eq!((&to.scheme, &to.token_map), (&from.scheme, &from.token_map));
            for (index, values) in source.iter().enumerate() {
                let (table, old) = (&to.tables[index], &from.tables[index]);
                let mut expected =
                    vec![0; values.len() / table.codec.width() * table.codec.row_bytes()];
                table.codec.encode(values, &mut expected).unwrap();
                assert!(
                    found[index] == expected,
                    "{family} as {codec}, table {index}"
                );
                assert_eq!(
                    table.source_codec,
                    (table.codec != old.codec).then_some(old.codec)
                );
                assert_eq!(
                    (report.tables[index].from, report.tables[index].to),
                    (old.codec, table.codec)
                );

                let mut now = vec![0.0; values.len()];
                table.codec.decode_f32(&expected, &mut now);
                let square = |value: f32| f64::from(value) * f64::from(value);
                let sum: f64 = values.iter().map(|&value| square(value)).sum();
                let off = values.iter().zip(&now).map(|(&a, &b)| {
                    let off = f64::from(a) - f64::from(b);
                    off * off
                });
                let rmse = (off.sum::<f64>() / sum).sqrt();
                let told = report.tables[index].relative_rmse.unwrap();
                assert!(
                    (told - rmse).abs() <= 1e-9 * rmse,
                    "{family} as {codec}: {told}, {rmse}"
                );
                assert!(told < 0.2, "{family} as {codec}: {told}");
            }
            assert_eq!(report.columns.len(), report.shards);
        }
    }
}

#[test]
fn the_scale_of_a_table_is_that_of_its_largest_value() {
    let fixture = Fixture::new("deepseek");
    let output = fixture.folder().join("nvfp4");
    run(&fixture.pack(), &output, "nvfp4").unwrap();
    let tables = read_manifest(&output).unwrap().tables;
    for (table, values) in tables.iter().zip(values(&fixture.pack())) {
        let largest = values
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        assert_eq!(table.codec.table_scale(), Some(largest / (6.0 * 448.0)));
    }
    let other = fixture.folder().join("given");
    run(&fixture.pack(), &other, "nvfp4:table_scale=0.25").unwrap();
    assert_eq!(
        read_manifest(&other).unwrap().tables[1].codec.table_scale(),
        Some(0.25)
    );
}

#[test]
fn layers_that_are_kept_stay_to_the_bit() {
    let fixture = Fixture::new("deepseek");
    let output = fixture.folder().join("kept");
    let keep = ConvertOptions {
        keep: vec![LayerId(3)],
        ..options("q4_0")
    };
    let report = convert(&fixture.pack(), &output, &keep, &|_| ()).unwrap();
    let [old, new] =
        [fixture.pack(), output.clone()].map(|pack| whole_tables(&open(&pack, Reader::Pread)));
    assert!(old[1] == new[1] && old[0] != new[0]);
    let tables = read_manifest(&output).unwrap().tables;
    assert_eq!(tables[0].codec, RowCodec::Q4_0 { width: 64 });
    assert_eq!(tables[1], read_manifest(fixture.pack()).unwrap().tables[1]);
    assert_eq!(report.tables[1].relative_rmse, Some(0.0));
    let unknown = ConvertOptions {
        keep: vec![LayerId(9)],
        ..options("q4_0")
    };
    let refused = convert(
        &fixture.pack(),
        &fixture.folder().join("x"),
        &unknown,
        &|_| (),
    );
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("it has layers [1, 3]"), "{refused}");
}

#[test]
fn attached_packed_and_striped_packs_give_the_same_bytes() {
    let fixture = Fixture::new("deepseek");
    let at = |name: &str| fixture.folder().join(name);
    attach(
        &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
        &at("attached"),
    )
    .unwrap();
    make_striped(&fixture.checkpoint(), &at("striped"), &[at("s0"), at("s1")]);
    let mut all = Vec::new();
    for (index, source) in [
        fixture.pack(),
        at("attached"),
        at("striped"),
        fixture.pack(),
    ]
    .iter()
    .enumerate()
    {
        let output = at(&format!("out-{index}"));
        let jobs = ConvertOptions {
            jobs: 1 + index,
            ..options("nvfp4_gguf")
        };
        convert(source, &output, &jobs, &|_| ()).unwrap();
        all.push(files(&output));
    }
    assert!(all.iter().all(|files| *files == all[0]));
    // Twice converted, the planes are still those of the checkpoint.
    run(&at("out-0"), &at("twice"), "f32").unwrap();
    let [once, twice] = [at("out-0"), at("twice")].map(|pack| read_manifest(pack).unwrap());
    assert_eq!(once.tables[0].source_codec, twice.tables[0].source_codec);
    assert_sound(&at("twice"));
    assert_eq!(values(&at("out-0")), values(&at("twice")));
}

/// Ends a conversion when `shards` shards are finished, as a kill would.
fn kill_after(shards: usize, source: &Path, output: &Path, options: &ConvertOptions) {
    let begun = AtomicUsize::new(0);
    let stop = |_| {
        assert!(begun.fetch_add(1, Ordering::Relaxed) < shards, "killed");
    };
    catch_unwind(AssertUnwindSafe(|| convert(source, output, options, &stop))).unwrap_err();
}

#[test]
fn a_conversion_that_was_killed_goes_on_to_the_same_bytes() {
    let fixture = Fixture::new("deepseek");
    let expected = fixture.folder().join("whole");
    let whole = run(&fixture.pack(), &expected, "q8_0").unwrap();
    for shards in 0..8 {
        let output = fixture.folder().join(format!("killed-{shards}"));
        let mut options = ConvertOptions {
            jobs: 1,
            ..options("q8_0")
        };
        kill_after(shards, &fixture.pack(), &output, &options);
        let refused = Store::open(&output, Config::new());
        assert!(refused.is_err(), "{refused:?}");
        if shards > 0 {
            let refused = format!(
                "{:#}",
                convert(&fixture.pack(), &output, &options, &|_| ()).unwrap_err()
            );
            assert!(refused.contains("--resume"), "{refused}");
            // What was measured of one shard is lost, and is found anew.
            fs::remove_file(output.join("layer-01/order-2-head-0.measured.partial")).unwrap();
        }
        options.resume = true;
        let report = convert(&fixture.pack(), &output, &options, &|_| ()).unwrap();
        assert_eq!((report.shards, report.shards_resumed), (8, shards));
        assert!(files(&output) == files(&expected), "{shards} shards");
        for (found, expected) in report.columns.iter().zip(&whole.columns) {
            assert!((found.relative_rmse - expected.relative_rmse).abs() < 1e-12);
            assert_eq!(found.worst_row, expected.worst_row);
        }
        // Once more is no work, of the same pack alone.
        let again = convert(&fixture.pack(), &output, &options, &|_| ()).unwrap();
        assert_eq!((again.shards_resumed, again.columns.len()), (8, 0));
        let other = ConvertOptions {
            resume: true,
            ..self::options("q4_0")
        };
        let refused = convert(&fixture.pack(), &output, &other, &|_| ())
            .unwrap_err()
            .to_string();
        assert!(refused.contains("with other options"), "{refused}");
    }
}

#[test]
fn a_conversion_goes_on_with_its_own_source_and_codec_alone() {
    let fixture = Fixture::new("deepseek");
    let output = fixture.folder().join("killed");
    let striped = |codec: &str| ConvertOptions {
        jobs: 1,
        stripes: ["a", "b"].map(|name| fixture.folder().join(name)).to_vec(),
        ..options(codec)
    };
    // Eight columns are looked at for the scales first.
    kill_after(8 + 3, &fixture.pack(), &output, &striped("nvfp4"));
    let resume = |source: &Path, codec: &str| {
        let options = ConvertOptions {
            resume: true,
            ..striped(codec)
        };
        convert(source, &output, &options, &|_| ())
    };
    let other = Fixture::new("qwen");
    for (source, codec) in [(fixture.pack(), "mxfp4"), (other.pack(), "nvfp4")] {
        let refused = format!("{:#}", resume(&source, codec).unwrap_err());
        assert!(refused.contains("other options"), "{refused}");
    }
    resume(&fixture.pack(), "nvfp4").unwrap();
    assert_sound(&output);
    let plain = fixture.folder().join("plain");
    run(&fixture.pack(), &plain, "nvfp4").unwrap();
    let [striped, plain] = [output, plain].map(|pack| whole_tables(&open(&pack, Reader::Pread)));
    assert!(striped == plain);
}

#[test]
fn what_cannot_be_converted_is_refused_by_its_place() {
    let fixture = Fixture::new("deepseek");
    let at = |name: &str| fixture.folder().join(name);
    let refused = |source: &Path, output: &Path, codec: &str| {
        format!("{:#}", run(source, output, codec).unwrap_err())
    };
    let said = refused(&fixture.pack(), &fixture.pack().join("../pack"), "q8_0");
    assert!(
        said.contains("is the pack that is to be converted"),
        "{said}"
    );
    let said = refused(&fixture.pack(), &at("k"), "q4_k");
    assert!(
        said.contains("layer 1 cannot be converted to q4_k") && said.contains("multiple of 256"),
        "{said}"
    );
    assert!(!at("k").exists());
    run(&fixture.pack(), &at("done"), "f32").unwrap();
    let said = refused(&fixture.pack(), &at("done"), "f32");
    assert!(said.contains("is a finished pack already"), "{said}");

    // A scale far too small for the values.
    let said = refused(
        &fixture.pack(),
        &at("large"),
        "fp8_e4m3_scaled:table_scale=1e-20",
    );
    assert!(
        said.contains("of layer ") && said.contains("too large"),
        "{said}"
    );

    let shard = at("done/layer-03/order-2-head-1.shard");
    let file = fs::File::options().write(true).open(&shard).unwrap();
    file.write_all_at(&[0xFF; 4], 4_096 + 500).unwrap();
    let said = refused(&at("done"), &at("damaged"), "f16");
    assert!(said.contains("order-2-head-1.shard"), "{said}");
    assert!(read_manifest(at("damaged")).is_err());
}

#[test]
fn what_is_not_a_number_is_refused_by_its_place() {
    let fixture = Fixture::new("longcat");
    let checkpoint = Checkpoint::open(&fixture.checkpoint(), None).unwrap();
    let plane = &checkpoint.tables[0].planes[0];
    let extent = plane.extent(engram::RowId(5));
    let name = &checkpoint.sources[extent.file as usize].name;
    let file = fs::File::options()
        .write(true)
        .open(fixture.checkpoint().join(name))
        .unwrap();
    // A NaN in bfloat16.
    file.write_all_at(&[0xC0, 0x7F], extent.offset + 6).unwrap();
    let attached = fixture.folder().join("attached");
    attach(
        &Checkpoint::open(&fixture.checkpoint(), None).unwrap(),
        &attached,
    )
    .unwrap();
    for codec in ["int8", "fp8_e4m3_scaled"] {
        let output = fixture.folder().join(codec);
        let said = format!("{:#}", run(&attached, &output, codec).unwrap_err());
        let expected = format!("value 3 of row 5 of layer {}", checkpoint.tables[0].layer);
        assert!(said.contains(&expected) && said.contains("NaN"), "{said}");
    }
}

#[test]
fn the_python_reader_reads_it() {
    let fixture = Fixture::new("deepseek");
    let output = fixture.folder().join("vectors/deepseek");
    run(&fixture.pack(), &output, "int4").unwrap();
    let Some(mut reader) = python("reader.py") else {
        return;
    };
    let store = open(&output, Reader::Pread);
    let row = engram_tests::look_up(&store, LayerId(1), &[engram::RowId(3)]).unwrap();
    let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
    let out = reader
        .arg(&output)
        .args(["get", "1", "3"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said.trim(), hex, "{}", String::from_utf8_lossy(&out.stderr));
}
