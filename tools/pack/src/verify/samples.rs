//! Compares an attached pack with the rows that its manifest knows.

use std::path::Path;

use engram::{Batch, Config, Reader, Store};
use engram_format::{Manifest, RowId, Sample, Table, seal};

use super::{Findings, VerifyOptions, flaw::Flaw, spread::Spread};

/// Compares the rows whose seals the manifest of an attached pack keeps.
pub(super) fn verify_samples(
    pack: &Path,
    manifest: &Manifest,
    checkpoint: &str,
    options: &VerifyOptions,
) -> Findings {
    // Opened with checks, the store would stop at the first row that differs.
    let mut config = Config::new().reader(Reader::Pread).check_seals(false);
    config.checkpoint.clone_from(&options.checkpoint);
    config.stripes.clone_from(&options.stripes);
    let folder = config
        .checkpoint
        .clone()
        .unwrap_or_else(|| checkpoint.into());
    let mut findings = Findings::default();
    match Store::open(pack, config) {
        Ok(store) => {
            for table in &manifest.tables {
                let chosen =
                    Spread::new(table.samples.len() as u64, options.sample.unwrap_or(100.0));
                for place in chosen.filter_map(|place| usize::try_from(place).ok()) {
                    verify_sample(&store, &folder, table, table.samples[place], &mut findings);
                }
            }
        }
        Err(error) => findings.add(folder.display().to_string(), 0, Flaw::from(&error)),
    }
    findings
}

fn verify_sample(
    store: &Store,
    folder: &Path,
    table: &Table,
    sample: Sample,
    findings: &mut Findings,
) {
    let row = RowId(sample.row);
    let mut bytes = vec![0; table.codec.row_bytes()];
    let rows = [row];
    let flaw = match store.lookup(Batch::new(table.layer, &rows), &mut bytes) {
        Ok(()) if seal(table.layer, row, &bytes) == sample.seal => None,
        Ok(()) => Some(Flaw::Damaged(
            "the row differs from when the checkpoint was attached".into(),
        )),
        Err(error) => Some(Flaw::from(&error)),
    };
    findings.records += 1;
    findings.bytes += bytes.len() as u64;
    if let Some(flaw) = flaw {
        let extent = table.planes[0].extent(row);
        let file = folder.join(&store.manifest().sources[extent.file as usize].name);
        findings.add_record(file.display().to_string(), row, extent.offset, flaw);
    }
}
