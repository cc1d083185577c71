//! All readers return the same bytes and refuse the same ranges.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use engram_io::{IoError, MemoryReader, MmapReader, PreadReader, ReadAt};

fn readers(bytes: &[u8]) -> (tempfile::TempDir, [Box<dyn ReadAt>; 4]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    let readers: [Box<dyn ReadAt>; 4] = [
        Box::new(MemoryReader::open(&path).unwrap()),
        Box::new(MmapReader::open(&path).unwrap()),
        Box::new(PreadReader::open(&path).unwrap()),
        Box::new(PreadReader::open_sequential(&path).unwrap()),
    ];
    (folder, readers)
}

#[test]
fn any_range_reads_alike() {
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let (_folder, readers) = readers(&bytes);
    for reader in readers {
        assert_eq!(reader.size(), 10_000);
        for (offset, len) in [(0, 0), (0, 10_000), (4_095, 2), (9_999, 1), (10_000, 0)] {
            let mut out = vec![0; len];
            reader.read_at(offset as u64, &mut out).unwrap();
            assert_eq!(out, bytes[offset..offset + len], "{reader:?}");
        }
        for gap in [0, 3, 16, 300] {
            let (mut head, mut tail) = ([0; 264], [0; 8]);
            reader
                .read_split_at(5_000, &mut head, gap, &mut tail)
                .unwrap();
            assert_eq!(head, bytes[5_000..5_264], "{reader:?}");
            assert_eq!(tail, bytes[5_264 + gap..][..8], "{reader:?}");
        }
    }
}

#[test]
fn ranges_past_the_end_are_refused() {
    let (_folder, readers) = readers(&[1; 100]);
    for reader in readers {
        for (offset, len) in [(100, 1), (0, 101), (u64::MAX, 1), (u64::MAX - 1, 2)] {
            let refused = reader.read_at(offset, &mut vec![0; len]);
            assert!(
                matches!(refused, Err(IoError::PastEnd { size: 100, .. })),
                "{reader:?}"
            );
            reader.prefetch(offset, len);
            reader.prefetch(offset, usize::MAX);
        }
        let refused = reader.read_split_at(90, &mut [0; 4], 4, &mut [0; 4]);
        assert!(
            matches!(refused, Err(IoError::PastEnd { .. })),
            "{reader:?}"
        );
    }
}

#[test]
fn a_missing_file_is_named() {
    let path = std::path::Path::new("no/such/file");
    for refused in [
        MemoryReader::open(path).map(drop),
        MmapReader::open(path).map(drop),
        PreadReader::open(path).map(drop),
    ] {
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("cannot open no/such/file")
        );
    }
}
