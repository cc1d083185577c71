//! What programs in C and C++ get is what Rust gets.

use crate::harness::{LANGUAGES, PACKS, Workshop, has, pack, run, text};
use engram::{Batch, Config, DEAD, LayerId, RowId, RowIds, Sequence, Store, ValueType};

/// Rows of each layer that are asked for; -1 is no row.
fn some_ids(store: &Store, layer: LayerId) -> Vec<i64> {
    let columns = store.columns(layer).unwrap();
    let last = columns.last().unwrap();
    let row_count = i64::try_from(last.first_row + last.row_count).unwrap();
    let mut ids: Vec<i64> = (0..40).map(|i| i * 31 % row_count).collect();
    ids.extend([row_count - 1, 0, 0]);
    ids
}

/// The rows `ids` as C should find them: rows of `parts` bytes each, `stride` bytes apart.
fn expected(
    store: &Store,
    layer: LayerId,
    ids: &[i64],
    values: Option<ValueType>,
    parts: &[usize],
    stride: usize,
) -> Vec<u8> {
    let codec = store.codec(layer).unwrap();
    let mut out = Vec::new();
    let mut before = 0;
    for &bytes in parts {
        for &id in ids {
            let mut row = vec![0; codec.row_bytes()];
            if let Ok(id) = u64::try_from(id) {
                store
                    .lookup(Batch::new(layer, &[RowId(id)]), &mut row)
                    .unwrap();
                row = values.map_or(row.clone(), |values| values.decode(codec, &row));
            } else {
                row.resize(before + bytes, 0);
            }
            out.extend_from_slice(&row[before..before + bytes]);
            out.resize(out.len() + stride.saturating_sub(bytes), 0xEE);
        }
        before += bytes;
    }
    out
}

const READERS: [&str; 5] = ["memory", "mmap", "pread", "direct", "direct_threads"];

#[test]
fn rows_are_the_same_by_every_way_to_ask() {
    let workshop = Workshop::new();
    let [c, cpp] = LANGUAGES;
    for (language, packs) in [(c, PACKS.len()), (cpp, 1)] {
        if !has(language.1) {
            continue;
        }
        let program = workshop.compile("tests/c/rows.c", language, &[]);
        let cold = ("cold/deepseek", "direct");
        let ways = PACKS
            .into_iter()
            .zip(READERS.into_iter().cycle())
            .take(packs);
        for (name, reader) in ways.chain([cold]) {
            let store = Store::open(pack(name), Config::new()).unwrap();
            for layer in store.scheme().layers.iter().map(|layer| layer.id) {
                every_way(&workshop, program.as_ref(), &store, name, reader, layer);
            }
        }
    }
}

#[test]
fn threads_share_a_store_and_a_batch() {
    let workshop = Workshop::new();
    for language in LANGUAGES.into_iter().filter(|language| has(language.1)) {
        let program = workshop.compile("tests/c/threads.c", language, &["-pthread"]);
        for (name, reader) in PACKS.into_iter().zip(READERS.into_iter().cycle()) {
            let options = format!(r#"{{"reader": "{reader}", "cache_bytes": 0}}"#);
            run(workshop.command(&program).arg(pack(name)).arg(options));
        }
    }
}

#[test]
fn options_change_no_row() {
    let [c, _] = LANGUAGES;
    if !has(c.1) {
        return;
    }
    let workshop = Workshop::new();
    let program = workshop.compile("tests/c/rows.c", c, &[]);
    let (name, layer) = ("deepseek", LayerId(3));
    let store = Store::open(pack(name), Config::new()).unwrap();
    let row_bytes = store.codec(layer).unwrap().row_bytes();
    let ids = some_ids(&store, layer);
    let expected = expected(&store, layer, &ids, None, &[row_bytes], 0);
    let profile = pack("profiles/deepseek.profile");
    let folder = workshop.path().display();
    for options in [
        "{}".to_owned(),
        format!(
            r#"{{"profile": "{}", "resident": {{"bytes": "4 KiB"}}}}"#,
            profile.display()
        ),
        format!(r#"{{"resident": {{"orders": 2}}, "resident_folder": "{folder}"}}"#),
        format!(r#"{{"cache_folder": "{folder}", "cache_bytes": "1 MiB"}}"#),
        r#"{"check_seals": false, "io_threads": 1, "io_depth": 2, "pool_bytes": 0}"#.to_owned(),
    ] {
        let mut command = workshop.command(&program);
        command
            .arg(pack(name))
            .args([&options, "submit", "3", "i64", "0", "0"]);
        assert!(
            run(command.args(ids.iter().map(i64::to_string))) == expected,
            "{options}"
        );
    }
}

/// Rows that several threads gather, and that threads of the store plan.
#[test]
fn rows_of_large_batches_are_the_same() {
    let [c, _] = LANGUAGES;
    if !has(c.1) {
        return;
    }
    let workshop = Workshop::new();
    let program = workshop.compile("tests/c/rows.c", c, &[]);
    let (name, layer) = ("deepseek", LayerId(1));
    let store = Store::open(pack(name), Config::new()).unwrap();
    let row_bytes = store.codec(layer).unwrap().row_bytes();
    let ids: Vec<i64> = (0..10_000)
        .map(|i| if i % 7 == 3 { -i } else { i * 31 % 100 })
        .collect();
    for reader in ["memory", "direct_threads"] {
        for way in ["lookup", "submit"] {
            for stride in [0, row_bytes + 1] {
                let options = format!(r#"{{"reader": "{reader}", "gather_threads": 3}}"#);
                let mut command = workshop.command(&program);
                command
                    .arg(pack(name))
                    .args([&options, way, "1", "i32", "0", &stride.to_string()]);
                let found = run(command.args(ids.iter().map(i64::to_string)));
                let expected = expected(&store, layer, &ids, None, &[row_bytes], stride);
                assert!(found == expected, "{reader} {way} {stride}");
            }
        }
    }
}

fn every_way(
    workshop: &Workshop,
    program: &std::ffi::OsStr,
    store: &Store,
    name: &str,
    reader: &str,
    layer: LayerId,
) {
    let codec = store.codec(layer).unwrap();
    let types = [
        (0, None),
        (1, Some(ValueType::F32)),
        (2, Some(ValueType::F16)),
        (3, Some(ValueType::Bf16)),
    ];
    let options = format!(r#"{{"reader": "{reader}"}}"#);
    let whole = some_ids(store, layer);
    let mut with_gaps = whole.clone();
    for place in [0, 3, 4, 20, with_gaps.len() - 1] {
        with_gaps[place] = -1 - i64::try_from(place).unwrap();
    }
    for (ids, id_type) in [
        (&whole, "i32"),
        (&with_gaps, "i64"),
        (&with_gaps, "u64"),
        (&vec![], "i32"),
        (&vec![-1], "i32"),
    ] {
        for way in ["lookup", "submit", "parts", "submit-parts"] {
            for (constant, values) in types {
                let apart = way.ends_with("parts");
                if apart && values.is_some() {
                    continue;
                }
                let row_bytes =
                    values.map_or(codec.row_bytes(), |values| values.bytes() * codec.width());
                let parts = if apart {
                    codec.plane_bytes().to_vec()
                } else {
                    vec![row_bytes]
                };
                for stride in [0, row_bytes + 12] {
                    let args = [
                        way,
                        &layer.to_string(),
                        id_type,
                        &constant.to_string(),
                        &stride.to_string(),
                    ]
                    .map(String::from);
                    let mut command = workshop.command(program);
                    command
                        .arg(pack(name))
                        .arg(&options)
                        .args(&args)
                        .args(ids.iter().map(i64::to_string));
                    let found = run(&mut command);
                    // A part that is not there leaves its memory alone.
                    let mut expected = expected(store, layer, ids, values, &parts, stride);
                    if apart && parts[1] == 0 {
                        let values_end = ids.len() * stride.max(parts[0]);
                        expected.truncate(values_end);
                        expected.resize(values_end + ids.len() * stride, 0xEE);
                    }
                    assert!(found == expected, "{command:?}");
                }
            }
        }
    }
}

#[test]
fn row_ids_are_the_same_by_every_way_to_hash() {
    let workshop = Workshop::new();
    for language in LANGUAGES.into_iter().filter(|language| has(language.1)) {
        let program = workshop.compile("tests/c/hash.c", language, &[]);
        for name in PACKS {
            let store = Store::open(pack(name), Config::new()).unwrap();
            // The boundary tokens of the small models are among them.
            let tokens: Vec<u32> = (0..24)
                .map(|i| if i % 9 == 5 { DEAD } else { i * 7 % 12 })
                .collect();
            let mut row_ids = RowIds::new();
            store
                .hasher()
                .extend(&mut Sequence::new(), &tokens, &mut row_ids)
                .unwrap();
            let mut expected = facts(&store, name);
            for batch in row_ids.batches() {
                expected.extend(batch.row_ids().iter().map(ToString::to_string));
            }
            let mut command = workshop.command(&program);
            command
                .arg(pack(name))
                .args(tokens.iter().map(|token| token.cast_signed().to_string()));
            let found = text(&run(&mut command));
            assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{name}");
        }
    }
}

/// A line for the pack, and for each layer and its columns.
fn facts(store: &Store, name: &str) -> Vec<String> {
    let scheme = store.scheme();
    let (columns, vocab_size) = (scheme.column_count(), store.hasher().vocab_size());
    let mut facts = vec![format!(
        "{} {vocab_size} {} {} {columns}",
        scheme.name, scheme.max_order, scheme.heads
    )];
    let manifest = std::fs::read_to_string(pack(name).join("manifest.json")).unwrap();
    for layer in scheme.layers.iter().map(|layer| layer.id) {
        let codec = store.codec(layer).unwrap();
        let columns = store.columns(layer).unwrap();
        let rows: u64 = columns.iter().map(|column| column.row_count).sum();
        let [values, scales] = codec.plane_bytes();
        let names = ["f32", "f16", "bf16", "fp8_e4m3_ue8m0", "fp8_e4m3_scaled"];
        let name = names
            .into_iter()
            .find(|name| manifest.contains(&format!("\"name\":\"{name}\"")))
            .unwrap();
        facts.push(format!(
            "{layer} {rows} {} {} {values} {scales} {name}",
            codec.width(),
            codec.row_bytes()
        ));
        for column in columns {
            let (order, head) = (column.order, column.head);
            facts.push(format!(
                "{order} {head} {} {}",
                column.first_row, column.row_count
            ));
        }
    }
    facts
}
