//! Compares an attached pack with the rows that its manifest knows.

use std::path::Path;

use anyhow::Result;
use engram::{Batch, Config, LookupError, Reader, Store};
use engram_format::{Manifest, RowId, seal};

use super::{Damage, Findings, VerifyOptions};

/// Compares the rows whose seals the manifest of an attached pack keeps.
pub(super) fn verify_samples(
    pack: &Path,
    manifest: &Manifest,
    options: &VerifyOptions,
) -> Result<Findings> {
    let mut config = Config::new().reader(Reader::Pread);
    config.checkpoint.clone_from(&options.checkpoint);
    let store = Store::open(pack, config)?;
    let mut findings = Findings::default();
    for table in &manifest.tables {
        let mut bytes = vec![0; table.codec.row_bytes()];
        for sample in &table.samples {
            let row = RowId(sample.row);
            let batch = Batch {
                layer: table.layer,
                rows: &[row],
            };
            let what = match store.lookup(batch, &mut bytes) {
                Ok(()) if seal(table.layer, row, &bytes) == sample.seal => None,
                Ok(()) => Some("the row differs from when the checkpoint was attached".into()),
                Err(LookupError::Io(error)) => Some(error.to_string()),
                Err(error) => return Err(error.into()),
            };
            findings.records += 1;
            findings.bytes += bytes.len() as u64;
            if let Some(what) = what {
                let segments = &table.planes[0].segments;
                let segment =
                    &segments[segments.partition_point(|segment| segment.first_row <= row.0) - 1];
                findings.damage.push(Damage {
                    file: manifest.sources[segment.source as usize].name.clone(),
                    row: Some(row.0),
                    records: 1,
                    offset: segment.offset
                        + (row.0 - segment.first_row) * table.planes[0].row_bytes,
                    what,
                });
            }
        }
    }
    Ok(findings)
}
