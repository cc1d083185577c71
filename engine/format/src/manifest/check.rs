//! Contradictions that a manifest with a valid checksum may still hold.

use super::{MAX_SOURCE_HEADER_BYTES, Manifest, Plane, SourceFile, Storage, Table};
use crate::{
    address::{LayerScheme, MAX_TOKEN_MAP_ENTRIES},
    error::FormatError,
};

/// The most segments that a plane may have.
pub const MAX_SEGMENTS: usize = 1 << 16;

impl Manifest {
    /// Checks every value on which reading relies.
    pub(super) fn check(&self) -> Result<(), FormatError> {
        self.scheme.validate()?;
        match &self.token_map {
            Some(map) if self.scheme.compressed => ensure(
                "token_map.entries",
                map.entries,
                (1..=MAX_TOKEN_MAP_ENTRIES).contains(&map.entries),
                &format!("1 to {MAX_TOKEN_MAP_ENTRIES}"),
            )?,
            None if !self.scheme.compressed => {}
            map => {
                let found = if map.is_some() { "present" } else { "null" };
                return fault(
                    "token_map",
                    found,
                    "a token map if and only if scheme.compressed",
                );
            }
        }
        if let Some(file) = self.sources.iter().find(|file| !is_file_name(&file.name)) {
            return fault("sources.name", &file.name, "a file name without folders");
        }
        for file in &self.sources {
            check_header(file)?;
        }
        let (tables, layers) = (self.tables.len(), self.scheme.layers.len());
        ensure(
            "tables",
            tables,
            tables == layers,
            "one for each layer of the scheme",
        )?;
        for (table, layer) in self.tables.iter().zip(&self.scheme.layers) {
            self.check_table(table, layer)?;
        }
        self.check_cold()?;
        self.check_stripes()
    }

    fn check_table(&self, table: &Table, layer: &LayerScheme) -> Result<(), FormatError> {
        ensure(
            "tables.layer",
            table.layer.0,
            table.layer == layer.id,
            "the layers of the scheme, in its order",
        )?;
        table.codec.validate()?;
        if let Some(source) = table.source_codec {
            source.validate()?;
            let (width, found) = (table.codec.width(), source.width());
            ensure(
                "tables.source_codec.width",
                found,
                found == width,
                &format!("{width}, as converted rows have"),
            )?;
            ensure(
                "tables.source_codec",
                "present",
                !matches!(self.storage, Storage::Attached { .. }),
                "none in an attached pack",
            )?;
        }
        let columns = layer.buckets.len();
        let (shards, samples) = (table.shards.len(), table.samples.len());
        match self.storage {
            Storage::Packed | Storage::Cold { .. } => {
                ensure(
                    "tables.shards",
                    shards,
                    shards == columns,
                    "one for each column",
                )?;
                ensure(
                    "tables.samples",
                    samples,
                    samples == 0,
                    "none but in an attached pack",
                )?;
            }
            Storage::Attached { .. } => {
                ensure(
                    "tables.shards",
                    shards,
                    shards == 0,
                    "none in an attached pack",
                )?;
                ensure(
                    "tables.samples",
                    samples,
                    samples > 0,
                    "at least one in an attached pack",
                )?;
            }
        }
        let rows: u64 = layer.buckets.iter().sum();
        if let Some(sample) = table.samples.iter().find(|sample| sample.row >= rows) {
            return fault("tables.samples.row", sample.row, &format!("below {rows}"));
        }
        let plane_bytes: Vec<u64> = table.planes.iter().map(|plane| plane.row_bytes).collect();
        // Planes tell of the checkpoint.
        let source = table.source_codec.unwrap_or(table.codec);
        let [values, scales] = source.plane_bytes().map(|bytes| bytes as u64);
        // Where a checkpoint has values and scales in one tensor, rows lie there as in a record.
        let (whole, parts) = ([values + scales], [values, scales]);
        let good = plane_bytes == whole || scales > 0 && plane_bytes == parts;
        let expected = if scales > 0 {
            format!("{parts:?} or {whole:?}, by the codec")
        } else {
            format!("{whole:?}, by the codec")
        };
        ensure(
            "tables.planes.row_bytes",
            format!("{plane_bytes:?}"),
            good,
            &expected,
        )?;
        for plane in &table.planes {
            check_plane(plane, layer.row_count, &self.sources)?;
        }
        Ok(())
    }
}

fn check_header(file: &SourceFile) -> Result<(), FormatError> {
    let Some(bytes) = file.header_bytes else {
        return Ok(());
    };
    let most = file.bytes.min(MAX_SOURCE_HEADER_BYTES);
    ensure(
        "sources.header_bytes",
        bytes,
        bytes <= most,
        &format!("at most {most} for {}", file.name),
    )
}

fn check_plane(plane: &Plane, row_count: u64, sources: &[SourceFile]) -> Result<(), FormatError> {
    let segments = plane.segments.len();
    ensure(
        "segments",
        segments,
        segments <= MAX_SEGMENTS,
        "at most 65536",
    )?;
    let mut next_row = 0;
    for segment in &plane.segments {
        let name = &segment.tensor;
        let Some(source) = sources.get(segment.source as usize) else {
            return fault(
                &format!("{name}.source"),
                segment.source,
                "an index in sources",
            );
        };
        let first = segment.first_row;
        ensure(
            &format!("{name}.first_row"),
            first,
            first == next_row,
            &next_row.to_string(),
        )?;
        let left = row_count - next_row;
        let count = segment.row_count;
        let fits = (1..=left).contains(&count);
        ensure(
            &format!("{name}.row_count"),
            count,
            fits,
            &format!("1 to {left}"),
        )?;
        next_row += count;
        let end = count
            .checked_mul(plane.row_bytes)
            .and_then(|bytes| bytes.checked_add(segment.offset));
        ensure(
            &format!("{name}.offset"),
            segment.offset,
            end.is_some_and(|end| end <= source.bytes),
            &format!(
                "{count} rows within the {} bytes of {}",
                source.bytes, source.name
            ),
        )?;
    }
    ensure(
        "rows of all segments",
        next_row,
        next_row == row_count,
        &row_count.to_string(),
    )
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

pub(super) fn ensure(
    field: &str,
    found: impl ToString,
    holds: bool,
    expected: &str,
) -> Result<(), FormatError> {
    if holds {
        Ok(())
    } else {
        fault(field, found, expected)
    }
}

fn fault(field: &str, found: impl ToString, expected: &str) -> Result<(), FormatError> {
    Err(FormatError::ManifestField {
        field: field.into(),
        found: found.to_string(),
        expected: expected.into(),
    })
}
