//! Where rows are put: as bytes, or decoded.

use engram_format::{RowCodec, bf16, f16};

use crate::resolve::RowRef;

/// A type that rows are decoded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
}

impl ValueType {
    /// Bytes of a value.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Decodes whole rows to the little-endian bytes of their values, one row after another.
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows of `codec`.
    pub fn decode(self, codec: RowCodec, rows: &[u8]) -> Vec<u8> {
        let count = rows.len() / codec.row_bytes() * codec.width();
        match self {
            Self::F32 => {
                let mut values = vec![0.0; count];
                codec.decode_f32(rows, &mut values);
                values.into_iter().flat_map(f32::to_le_bytes).collect()
            }
            Self::F16 => {
                let mut values = vec![f16::ZERO; count];
                codec.decode_f16(rows, &mut values);
                values.into_iter().flat_map(f16::to_le_bytes).collect()
            }
            Self::Bf16 => {
                let mut values = vec![bf16::ZERO; count];
                codec.decode_bf16(rows, &mut values);
                values.into_iter().flat_map(bf16::to_le_bytes).collect()
            }
        }
    }

    /// Decodes whole `rows` to `out`, which is aligned for the type and has room for just their values.
    pub(crate) fn decode_into(self, codec: RowCodec, rows: &[u8], out: &mut [u8]) {
        match self {
            Self::F32 => codec.decode_f32(rows, bytemuck::cast_slice_mut(out)),
            Self::F16 => codec.decode_f16(rows, bytemuck::cast_slice_mut(out)),
            Self::Bf16 => codec.decode_bf16(rows, bytemuck::cast_slice_mut(out)),
        }
    }
}

/// Memory of the caller's for decoded rows, `[token][column][value]`.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// As `f32`.
    F32(&'a mut [f32]),
    /// As IEEE binary16.
    F16(&'a mut [f16]),
    /// As bfloat16.
    Bf16(&'a mut [bf16]),
}

impl<'a> ValuesMut<'a> {
    pub(crate) fn into_bytes(self) -> (ValueType, &'a mut [u8]) {
        match self {
            Self::F32(out) => (ValueType::F32, bytemuck::cast_slice_mut(out)),
            Self::F16(out) => (ValueType::F16, bytemuck::cast_slice_mut(out)),
            Self::Bf16(out) => (ValueType::Bf16, bytemuck::cast_slice_mut(out)),
        }
    }
}

impl<'a> From<&'a mut [f32]> for ValuesMut<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a mut [f16]> for ValuesMut<'a> {
    fn from(values: &'a mut [f16]) -> Self {
        Self::F16(values)
    }
}

impl<'a> From<&'a mut [bf16]> for ValuesMut<'a> {
    fn from(values: &'a mut [bf16]) -> Self {
        Self::Bf16(values)
    }
}

/// The rows of one piece of a batch, as bytes: what tiers fill.
#[derive(Debug)]
pub struct RowsMut<'a> {
    bytes: &'a mut [u8],
    row_bytes: usize,
    /// Place in the batch of the first row of `bytes`.
    first: usize,
}

impl RowsMut<'_> {
    /// The memory of `row`, which is to be filled with its bytes.
    ///
    /// # Panics
    /// If the row is not of this piece of the batch.
    #[inline]
    pub fn row(&mut self, row: &RowRef) -> &mut [u8] {
        let start = (row.index as usize - self.first) * self.row_bytes;
        &mut self.bytes[start..start + self.row_bytes]
    }
}

/// The memory of all rows of a batch.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    codec: RowCodec,
    /// What rows are decoded to; none for their bytes.
    values: Option<ValueType>,
    bytes: &'a mut [u8],
    /// Place in the batch of the first row of `bytes`.
    first: usize,
}

impl<'a> Output<'a> {
    /// Memory for rows of `codec`, aligned for `values` if they are decoded.
    pub(crate) fn new(codec: RowCodec, values: Option<ValueType>, bytes: &'a mut [u8]) -> Self {
        Self {
            codec,
            values,
            bytes,
            first: 0,
        }
    }

    /// The memory of the rows from place `first` on, in parts of `rows` rows.
    pub(crate) fn parts(&mut self, first: usize, rows: usize) -> impl Iterator<Item = Output<'_>> {
        let (codec, values, row_bytes) = (self.codec, self.values, self.row_bytes());
        let bytes = &mut self.bytes[(first - self.first) * row_bytes..];
        let parts = bytes.chunks_mut(rows * row_bytes).enumerate();
        parts.map(move |(part, bytes)| Output {
            codec,
            values,
            bytes,
            first: first + part * rows,
        })
    }

    /// Place in the batch of its first row.
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// Bytes of one row of the output.
    pub(crate) fn row_bytes(&self) -> usize {
        row_bytes(self.codec, self.values)
    }

    /// Rows that there is memory for.
    pub(crate) fn rows(&self) -> usize {
        self.bytes.len() / self.row_bytes()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Lets `serve` fill some of the `rows` rows from `first` on; it says whether there were any. Rows that
    /// are decoded are filled in `scratch` first, a piece that fits the processor's caches.
    pub(crate) fn piece<E>(
        &mut self,
        first: usize,
        rows: usize,
        scratch: &mut Vec<u8>,
        serve: impl FnOnce(&mut RowsMut<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let row_bytes = self.row_bytes();
        let piece = &mut self.bytes[(first - self.first) * row_bytes..][..rows * row_bytes];
        let stored = self.codec.row_bytes();
        let Some(values) = self.values else {
            serve(&mut RowsMut {
                bytes: piece,
                row_bytes: stored,
                first,
            })?;
            return Ok(());
        };
        scratch.resize(rows * stored, 0);
        let any = serve(&mut RowsMut {
            bytes: scratch,
            row_bytes: stored,
            first,
        })?;
        if any {
            // Rows that no tier had are decoded from whatever lies there, and again when they have come.
            values.decode_into(self.codec, scratch, piece);
        }
        Ok(())
    }

    /// Puts the bytes of a whole row to its place.
    pub(crate) fn put(&mut self, index: usize, row: &[u8]) {
        let row_bytes = self.row_bytes();
        let out = &mut self.bytes[(index - self.first) * row_bytes..][..row_bytes];
        match self.values {
            None => out.copy_from_slice(row),
            Some(values) => values.decode_into(self.codec, row, out),
        }
    }
}

/// Bytes of a row of `codec` as it is stored, or decoded to `values`.
pub(crate) fn row_bytes(codec: RowCodec, values: Option<ValueType>) -> usize {
    values.map_or(codec.row_bytes(), |values| values.bytes() * codec.width())
}
