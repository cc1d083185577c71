//! The examples do what they say.

use engram::{Batch, Config, DEAD, LayerId, RowId, RowIds, Sequence, Store};

use crate::{
    attached::attach,
    harness::{LANGUAGES, PACKS, Workshop, has, pack, run, text},
};

const TOKENS: [u32; 6] = [3, 10, 31, 6, 3, 10];

fn hashed(store: &Store, tokens: &[u32]) -> RowIds {
    let mut row_ids = RowIds::new();
    let hasher = store.hasher();
    hasher
        .extend(&mut Sequence::new(), tokens, &mut row_ids)
        .unwrap();
    row_ids
}

fn values(store: &Store, batch: Batch<'_>) -> Vec<f32> {
    let codec = store.codec(batch.layer()).unwrap();
    let mut values = vec![0.0_f32; batch.len() * codec.width()];
    store.lookup_values(batch, &mut values[..]).unwrap();
    values
}

/// The numbers of a line, to the bit: nine digits tell every `f32` from the others.
fn bits<'a>(numbers: impl Iterator<Item = &'a str>) -> Vec<u32> {
    numbers
        .map(|number| number.parse::<f32>().unwrap().to_bits())
        .collect()
}

#[test]
fn look_up_prints_the_rows_of_tokens() {
    let workshop = Workshop::new();
    for language in LANGUAGES.into_iter().filter(|language| has(language.1)) {
        let program = workshop.compile("examples/look_up.c", language, &[]);
        for name in PACKS {
            let store = Store::open(pack(name), Config::new()).unwrap();
            let mut command = workshop.command(&program);
            command
                .arg(pack(name))
                .args(TOKENS.map(|token| token.to_string()));
            let printed = text(&run(&mut command));
            let mut lines = printed.lines();
            for batch in hashed(&store, &TOKENS).batches() {
                let columns = store.columns(batch.layer()).unwrap().len();
                let values = values(&store, batch);
                let rows = values.chunks_exact(store.codec(batch.layer()).unwrap().width());
                for (index, (row, id)) in rows.zip(batch.row_ids()).enumerate() {
                    let mut words = lines.next().unwrap().split(' ');
                    let place = [batch.layer().0 as usize, index / columns, index % columns]
                        .map(|n| n.to_string());
                    assert!(words.by_ref().take(3).eq(place), "{name}");
                    assert_eq!(words.next(), Some(&*id.to_string()), "{name}");
                    assert_eq!(
                        bits(words),
                        row.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
                    );
                }
            }
            assert_eq!(lines.next(), None);
        }
    }
}

#[test]
fn get_rows_serves_packs_and_attached_checkpoints() {
    let workshop = Workshop::new();
    let attached = attach(workshop.path());
    for language in LANGUAGES.into_iter().filter(|language| has(language.1)) {
        let program = workshop.compile("examples/get_rows.c", language, &[]);
        for pack in PACKS.map(pack).iter().chain([&attached]) {
            let store = Store::open(pack, Config::new()).unwrap();
            let layer = store.scheme().layers[0].id;
            let ids = [2, 0, -1, 3, 3, -5, 1];
            for options in [r#"{"reader": "memory"}"#, r#"{"reader": "direct"}"#] {
                let mut command = workshop.command(&program);
                command
                    .arg(pack)
                    .args([options, &layer.to_string()])
                    .args(ids.map(|id: i32| id.to_string()));
                let printed = text(&run(&mut command));
                let mut lines = printed.lines();
                for id in ids {
                    let found = bits(lines.next().unwrap().split(' '));
                    let expected = match u64::try_from(id) {
                        Ok(id) => values(&store, Batch::new(layer, &[RowId(id)])),
                        Err(_) => vec![0.0; found.len()],
                    };
                    let expected: Vec<u32> = expected.iter().map(|value| value.to_bits()).collect();
                    assert_eq!(found, expected, "{} {id}", pack.display());
                }
                assert_eq!(lines.next(), None);
            }
        }
        let mut command = workshop.command(&program);
        command.arg("--time").arg(&attached).args(["{}", "1", "16"]);
        assert!(text(&run(&mut command)).contains(" million rows a second"));
    }
}

#[test]
fn tickets_bring_the_rows_of_all_layers() {
    let workshop = Workshop::new();
    for language in LANGUAGES.into_iter().filter(|language| has(language.1)) {
        let program = workshop.compile("examples/tickets.c", language, &[]);
        for name in PACKS {
            let store = Store::open(pack(name), Config::new()).unwrap();
            let mut command = workshop.command(&program);
            command
                .arg(pack(name))
                .args(TOKENS.map(|token| token.to_string()));
            // Layers come in any order.
            let printed = text(&run(&mut command));
            let mut found: Vec<&str> = printed.lines().collect();
            found.sort_unstable();
            let row_ids = hashed(&store, &TOKENS);
            let expected = row_ids.batches().map(|batch| {
                let mut rows =
                    vec![0; batch.len() * store.codec(batch.layer()).unwrap().row_bytes()];
                store.lookup(batch, &mut rows).unwrap();
                let rows: String = rows.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{} {rows}", batch.layer())
            });
            let mut expected: Vec<String> = expected.collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn windows_hash_as_a_sequence_does() {
    let workshop = Workshop::new();
    for language in LANGUAGES.into_iter().filter(|language| has(language.1)) {
        let program = workshop.compile("examples/windows.c", language, &[]);
        for name in PACKS {
            let store = Store::open(pack(name), Config::new()).unwrap();
            let tokens = [3, 10, 31, DEAD, 3, 10, 2, 11];
            let row_ids = hashed(&store, &tokens);
            for history in [0, 2, 5, tokens.len()] {
                let mut command = workshop.command(&program);
                let words = tokens.map(|token| token.cast_signed().to_string());
                command.arg(pack(name)).arg(history.to_string()).args(words);
                let layers = store.scheme().layers.iter().map(|layer| layer.id);
                let expected = layers.enumerate().flat_map(|(index, layer)| {
                    let row_ids = &row_ids;
                    (history..tokens.len())
                        .map(move |position| line(row_ids, index, layer, position))
                });
                let expected: String = expected.collect();
                assert_eq!(text(&run(&mut command)), expected, "{name}");
            }
        }
    }
}

fn line(row_ids: &RowIds, index: usize, layer: LayerId, position: usize) -> String {
    let ids = row_ids.position(index, position).iter();
    let ids: String = ids.map(|id| format!(" {id}")).collect();
    format!("{layer} {position}{ids}\n")
}
