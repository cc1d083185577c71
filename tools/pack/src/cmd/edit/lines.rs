//! Entries as lines of JSON: `{"layer": 1, "row": 7, "bytes": "3f80..."}`. Instead of the row there may be an `ngram`,
//! ids as they are hashed, newest first; instead of `bytes`, which are the rows as the pack stores them, `values`; with
//! neither, the entry is taken away.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use engram::{LayerId, RowId};
use engram_overlay::{Edits, Key, RowData, Snapshot};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{data::flatten, entry};

/// All entries, in order, and how many there are.
pub(super) fn write(snapshot: &Snapshot) -> Result<(String, usize)> {
    let (mut text, mut count) = (String::new(), 0);
    for layer in snapshot.shape().layers() {
        let mut entries: Vec<(Key, &[u8])> = snapshot.entries(layer)?.collect();
        entries.sort();
        count += entries.len();
        for (key, rows) in entries {
            let mut line = entry::json(&key);
            line["layer"] = json!(layer);
            line["bytes"] = hex(rows).into();
            writeln!(text, "{line}")?;
        }
    }
    Ok((text, count))
}

/// The edits that such lines make.
pub(super) fn read(text: &str) -> Result<Edits> {
    let mut edits = Edits::new();
    let lines = text.lines().enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        add(&mut edits, line).with_context(|| format!("line {}", index + 1))?;
    }
    Ok(edits)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    layer: LayerId,
    row: Option<u64>,
    ngram: Option<Vec<u32>>,
    bytes: Option<String>,
    values: Option<Value>,
}

fn add(edits: &mut Edits, line: &str) -> Result<()> {
    let line: Line = serde_json::from_str(line)?;
    let key = match (line.row, line.ngram) {
        (Some(row), None) => Key::Row(RowId(row)),
        (None, Some(ngram)) => Key::NGram(ngram),
        _ => bail!("expected either a row or an ngram"),
    };
    match (line.bytes, line.values) {
        (Some(bytes), None) => edits.set(line.layer, key, unhex(&bytes)?),
        (None, Some(values)) => {
            let mut found = Vec::new();
            flatten(&values, &mut found)?;
            edits.set(line.layer, key, RowData::Values(found))
        }
        (None, None) => edits.remove(line.layer, key),
        _ => bail!("expected either bytes or values"),
    };
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what it is given");
        text
    })
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    ensure!(
        rest.is_empty(),
        "bytes have two digits each, found {} digits",
        text.len()
    );
    let digit = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes = pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes
        .collect::<Option<_>>()
        .context("bytes are not hexadecimal")
}
