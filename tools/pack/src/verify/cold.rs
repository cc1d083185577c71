//! Reads the file of one column of a cold pack from front to back.

use std::path::{Path, PathBuf};

use engram_cold::{ColdError, ColdFile, FrameBuffer};
use engram_format::{ColdColumn, Digester, HEADER_BYTES, RowId};
use engram_io::PreadReader;

use super::{Findings, flaw::Flaw, spread::Spread};
use crate::{Progress, Stop};

/// One file to be verified.
pub(super) struct ColdCheck<'a> {
    pub(super) pack: &'a Path,
    pub(super) path: PathBuf,
    pub(super) column: ColdColumn,
    /// Percentage of the frames to read; all and the digests if not given.
    pub(super) sample: Option<f64>,
    /// What is found after it means nothing.
    pub(super) stop: &'a Stop,
}

impl ColdCheck<'_> {
    /// Everything that is wrong with the file.
    pub(super) fn run(&self, progress: Progress<'_>) -> Findings {
        let name = self.path.strip_prefix(self.pack).unwrap_or(&self.path);
        let name = name.display().to_string();
        let mut findings = Findings::default();
        let opened = PreadReader::open_sequential(&self.path);
        let opened = opened
            .map_err(ColdError::from)
            .and_then(|reader| ColdFile::open(&self.path, Box::new(reader), self.column));
        match opened {
            // Without its index nothing of the file can be found.
            Err(error) => findings.add(name, 0, Flaw::from(&error)),
            Ok(file) => {
                progress(self.column.first_frame());
                match self.sample {
                    Some(percent) => {
                        let chosen = Spread::new(self.column.frames(), percent);
                        self.read(&file, &name, chosen, &mut findings, progress);
                    }
                    None => self.all(&file, &name, &mut findings, progress),
                }
            }
        }
        findings
    }

    fn all(&self, file: &ColdFile, name: &str, findings: &mut Findings, progress: Progress<'_>) {
        let frames = 0..self.column.frames();
        let found = self.read(file, name, frames, findings, progress);
        let digests = self.column.header.digests;
        for ((what, stored), found) in [("data", digests.data), ("rows", digests.rows)]
            .into_iter()
            .zip(found)
        {
            // Of other flaws, which explain it, the place has been named already.
            let found = found.finish();
            if found != stored && findings.is_empty() && !self.stop.is_stopped() {
                let what = format!("{what} digest is {found}, the manifest says {stored}");
                findings.add(name.into(), HEADER_BYTES as u64, Flaw::Damaged(what));
            }
        }
    }

    /// Reads frames, and returns the digests of their records and rows.
    fn read(
        &self,
        file: &ColdFile,
        name: &str,
        chosen: impl Iterator<Item = u64>,
        findings: &mut Findings,
        progress: Progress<'_>,
    ) -> [Digester; 2] {
        let (mut buffer, mut records) = (FrameBuffer::default(), Vec::new());
        let [mut of_data, mut of_rows] = [Digester::new(), Digester::new()];
        for frame in chosen {
            if self.stop.is_stopped() {
                break;
            }
            let place = file.frames().index().place(frame);
            let (rows, first) = (self.column.rows_of(frame), frame * self.column.frame_rows);
            match file.read(frame, &mut buffer, &mut records) {
                Ok(rows) => {
                    of_rows.update(rows);
                    of_data.update(&records);
                }
                Err(error) => {
                    let first = RowId(self.column.header.column.first_row + first);
                    let flaw = Flaw::from(&error);
                    findings.add_records(name.into(), first, rows, place.offset, flaw);
                }
            }
            findings.records += rows;
            findings.bytes += u64::from(place.len);
            progress(place.len.into());
        }
        [of_data, of_rows]
    }
}
