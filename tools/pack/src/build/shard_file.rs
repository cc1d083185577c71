//! The file of one column, while it is written and once it is whole.

use std::path::PathBuf;

use anyhow::{Context, Result};
use engram_format::{
    Column, Digester, FormatError, HEADER_BYTES, LayerId, RecordLayout, RowCodec, RowId,
    ShardDigests, ShardHeader,
};
use engram_io::{NewFile, PreadReader, ReadAt};

/// Shard bytes written at a time; memory is bounded by about three times this for each job.
const CHUNK_BYTES: usize = 2 << 20;

/// A shard that is to be, or is, at its place.
pub(crate) struct ShardFile {
    /// Its final path.
    pub(crate) path: PathBuf,
    pub(crate) layer: LayerId,
    pub(crate) column: Column,
    pub(crate) codec: RowCodec,
}

impl ShardFile {
    fn layout(&self) -> RecordLayout {
        RecordLayout::new(self.codec.row_bytes())
    }

    /// Bytes of the column's rows.
    pub(crate) fn row_bytes(&self) -> u64 {
        self.column.row_count * self.codec.row_bytes() as u64
    }

    /// Bytes of the shard.
    pub(crate) fn shard_bytes(&self) -> u64 {
        self.layout().shard_bytes(self.column.row_count)
    }

    /// Rows that are written together.
    pub(crate) fn chunk_rows(&self) -> usize {
        let layout = self.layout();
        (CHUNK_BYTES / layout.group_bytes()).max(1) * layout.group_records()
    }

    /// The digests of the shard where an earlier process has finished it.
    ///
    /// It got its name only once it was whole and on the drive, so its header tells.
    pub(crate) fn finished(&self) -> Result<Option<ShardDigests>> {
        let path = &self.path;
        if !path.exists() {
            return Ok(None);
        }
        let context = || format!("{} is no shard of this build; remove it", path.display());
        let reader = PreadReader::open(path)?;
        let (found, expected) = (reader.size(), self.shard_bytes());
        if found != expected {
            return Err(FormatError::Size { found, expected }).with_context(context);
        }
        let mut block = [0; HEADER_BYTES];
        reader.read_at(0, &mut block)?;
        let found = ShardHeader::decode(&block).with_context(context)?;
        let expected = ShardHeader::new(self.layer, self.column, self.codec, found.digests);
        expected.check(&block).with_context(context)?;
        Ok(Some(found.digests))
    }

    /// Begins to write it.
    pub(crate) fn create(&self) -> Result<ShardWriter<'_>> {
        let mut file = NewFile::create(&self.path, self.shard_bytes())?;
        file.write(&[0; HEADER_BYTES])?;
        Ok(ShardWriter {
            shard: self,
            layout: self.layout(),
            file,
            next: RowId(self.column.first_row),
            records: Vec::new(),
            of_rows: Digester::new(),
            of_data: Digester::new(),
        })
    }
}

/// Writes a shard from front to back.
pub(crate) struct ShardWriter<'a> {
    shard: &'a ShardFile,
    layout: RecordLayout,
    file: NewFile,
    next: RowId,
    records: Vec<u8>,
    of_rows: Digester,
    of_data: Digester,
}

impl ShardWriter<'_> {
    /// Writes the next rows: as many as [`ShardFile::chunk_rows`], or the last ones.
    pub(crate) fn write(&mut self, rows: &[u8]) -> Result<()> {
        self.of_rows.update(rows);
        self.layout
            .lay_out(self.shard.layer, self.next, rows, &mut self.records);
        self.of_data.update(&self.records);
        self.file.write(&self.records)?;
        self.next.0 += (rows.len() / self.layout.row_bytes()) as u64;
        Ok(())
    }

    /// Gives the shard its name.
    pub(crate) fn finish(mut self) -> Result<ShardDigests> {
        let digests = ShardDigests {
            data: self.of_data.finish(),
            rows: self.of_rows.finish(),
        };
        let shard = self.shard;
        let header = ShardHeader::new(shard.layer, shard.column, shard.codec, digests);
        self.file.overwrite(0, &header.encode())?;
        self.file.publish()?;
        Ok(digests)
    }
}
