//! Safetensors files: the tensors that stay are copied to a smaller one.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use engram_checkpoint::Checkpoint;
use engram_format::{Digest, Segment};

use super::{
    super::{
        header::{Header, Listed},
        record::{LeanFile, Piece},
    },
    Kept, LeanPlan, packed_rows,
};

/// The plan for the checkpoint's file at index `source`.
pub(super) fn plan(checkpoint: &Checkpoint, source: usize) -> Result<LeanPlan> {
    let path = checkpoint.folder.join(&checkpoint.sources[source].name);
    let header = Header::read(&path).with_context(|| path.display().to_string())?;
    let (mut tensors, mut offsets, mut next) = (Vec::new(), BTreeMap::new(), 0);
    let mut rest = Vec::new();
    for tensor in header.tensors()? {
        let rows = pieces_of(checkpoint, source, &header, &tensor, &mut rest);
        if rows.is_empty() {
            let bytes = tensor.end - tensor.start;
            offsets.insert(tensor.name, [next, next + bytes]);
            next += bytes;
        }
        tensors.push((tensor, rows));
    }
    let start = header.lean(&offsets)?;

    let (mut kept, mut pieces, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for (tensor, rows) in tensors {
        let bytes = tensor.end - tensor.start;
        if let Some([offset, _]) = offsets.get(tensor.name) {
            let to = start.len() as u64 + offset;
            let from = header.data_start() + tensor.start;
            kept.push(Kept { from, to, bytes });
            pieces.push(Piece::Kept { offset: to, bytes });
        } else {
            removed.push((tensor.name.to_owned(), bytes));
            pieces.extend(rows);
        }
    }
    let file = &checkpoint.sources[source];
    Ok(LeanPlan {
        bytes: start.len() as u64 + next,
        file: LeanFile {
            name: file.name.clone(),
            bytes: file.bytes,
            digest: Digest(0),
            header: Some(header.text.clone()),
            pieces,
        },
        start,
        kept,
        rest,
        removed,
    })
}

/// What a tensor of a table is made of; nothing if it is of none. The rest follows what is in `rest` already.
fn pieces_of(
    checkpoint: &Checkpoint,
    source: usize,
    header: &Header,
    tensor: &Listed<'_>,
    rest: &mut Vec<Kept>,
) -> Vec<Piece> {
    let is_this =
        |segment: &&Segment| segment.source as usize == source && segment.tensor == tensor.name;
    let mut pieces = Vec::new();
    let mut next = header.data_start() + tensor.start;
    let mut is_of_a_table = false;
    for table in &checkpoint.tables {
        let packed = packed_rows(checkpoint, table);
        for (plane, place) in table.planes.iter().enumerate() {
            for segment in place.segments.iter().filter(is_this) {
                debug_assert_eq!(segment.offset, next, "rows follow one another");
                is_of_a_table = true;
                let end = packed.min(segment.first_row + segment.row_count);
                let row_count = end.saturating_sub(segment.first_row);
                if row_count > 0 {
                    pieces.push(Piece::Rows {
                        layer: table.layer,
                        plane,
                        first_row: segment.first_row,
                        row_count,
                    });
                    next = segment.offset + row_count * place.row_bytes;
                }
            }
        }
    }
    let bytes = header.data_start() + tensor.end - next;
    if is_of_a_table && bytes > 0 {
        let offset = rest.last().map_or(0, |last| last.to + last.bytes);
        rest.push(Kept {
            from: next,
            to: offset,
            bytes,
        });
        pieces.push(Piece::Rest { offset, bytes });
    }
    pieces
}
