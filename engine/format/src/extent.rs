//! Where bytes lie.

/// Consecutive bytes of one of a pack's files.
///
/// [`RecordLayout::extent`](crate::RecordLayout::extent) and [`Plane::extent`](crate::Plane::extent) know
/// where a row's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Index of the file: a shard's among the pack's shards, a source's among
    /// [`Manifest::sources`](crate::Manifest::sources).
    pub file: u32,
    /// Offset of the first byte in the file.
    pub offset: u64,
    /// Number of bytes.
    pub len: usize,
}
