use super::*;
use crate::{address::Column, codec::RowCodec, digest::ShardDigests, ids::LayerId};

const ROWS: u64 = 100;

/// A column of 100 rows of 264 bytes in frames of 30, with a dictionary of 5 bytes.
fn column() -> (ColdColumn, Vec<u8>) {
    let place = Column {
        index: 9,
        order: 3,
        head: 1,
        first_row: 144_001_069,
        row_count: ROWS,
    };
    let codec = RowCodec::Fp8Ue8m0 {
        width: 256,
        group: 32,
    };
    let digests = ShardDigests {
        data: Digest::of(b"data"),
        rows: Digest::of(b"rows"),
    };
    let mut column = ColdColumn {
        header: ShardHeader::new(LayerId(1), place, codec, digests),
        frame_rows: 30,
        shard: ColdShard {
            bytes: 0,
            dictionary_bytes: 5,
            digest: Digest(0),
        },
    };
    let head = column.encode_head(b"words", &places(&[10, 20, 30, 40]));
    column.shard.bytes = column.first_frame() + 100;
    column.shard.digest = Digest::of(&head);
    (column, head)
}

fn places(lens: &[u32]) -> Vec<FramePlace> {
    let places = (1..).zip(lens).map(|(number, &len)| FramePlace {
        offset: 0,
        len,
        checksum: number,
        seals: 10 * number,
    });
    places.collect()
}

/// What is said of an index whose author has recomputed the digest.
fn refusal(lens: [u32; 4]) -> String {
    let (mut column, _) = column();
    let head = column.encode_head(b"words", &places(&lens));
    column.shard.digest = Digest::of(&head);
    column.read_head(&head).unwrap_err().to_string()
}

#[test]
fn an_index_survives_its_bytes() {
    let (column, head) = column();
    assert_eq!(column.frames(), 4);
    assert_eq!([0, 3].map(|frame| column.rows_of(frame)), [30, 10]);
    assert_eq!(column.first_frame(), 4096 + 8 + 5 + 8 + 4 * 20);
    let (dictionary, index) = column.read_head(&head).unwrap();
    assert_eq!(dictionary, b"words");
    let expected = FramePlace {
        offset: column.first_frame() + 60,
        len: 40,
        checksum: 4,
        seals: 40,
    };
    assert_eq!(index.place(3), expected);
    assert_eq!(column.check("it"), Ok(()));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (column, head) = column();
    let block = column.encode_header();
    assert_eq!(column.check_header(&block), Ok(()));
    for bit in 0..HEADER_BYTES * 8 {
        let mut damaged = block;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(column.check_header(&damaged).is_err(), "bit {bit}");
    }
    for bit in 0..head.len() * 8 {
        let mut damaged = head.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(column.read_head(&damaged).is_err(), "bit {bit}");
    }
    assert!(column.read_head(&head[1..]).is_err());
}

#[test]
fn an_index_that_lies_is_named() {
    let most = compressed_bound(30 * 264);
    assert_eq!(
        refusal([10, 0, 50, 40]),
        format!("index of frames: bytes of frame 1 is 0, expected 1 to {most}")
    );
    let beyond = refusal([10, 20, u32::MAX, 40]);
    assert!(beyond.contains("frame 2 is 4294967295"), "{beyond}");
    // Within what a frame may have, and yet beyond the end of the file, or short of it.
    for lens in [[10, 20, 30, 41], [10, 20, 30, 39]] {
        let said = refusal(lens);
        assert!(said.contains("the end of the last frame is"), "{said}");
    }
    let (mut column, mut head) = column();
    head[4] = 4;
    column.shard.digest = Digest::of(&head);
    let said = column.read_head(&head).unwrap_err().to_string();
    assert!(said.contains("length of the dictionary"), "{said}");
    let head = column.encode_head(b"other", &places(&[10, 20, 30, 40]));
    let said = column.read_head(&head).unwrap_err().to_string();
    assert!(
        said.contains("dictionary and index of frames: checksum"),
        "{said}"
    );
}

#[test]
fn another_column_and_another_version_are_named() {
    let (column, _) = column();
    let mut other = column;
    other.header.column.head = 2;
    let said = column.check_header(&other.encode_header()).unwrap_err();
    assert!(
        matches!(&said, FormatError::HeaderField { field: "head", found, .. } if found == "2"),
        "{said:?}"
    );
    let packed = column.check_header(&column.header.encode()).unwrap_err();
    assert!(matches!(packed, FormatError::Magic { .. }), "{packed:?}");
    let mut block = column.encode_header();
    block[AT_VERSION] = 2;
    let newer = column.check_header(&block).unwrap_err();
    assert!(
        matches!(newer, FormatError::Version { found: 2, .. }),
        "{newer:?}"
    );
}

#[test]
fn a_header_tells_what_only_the_bytes_can() {
    let (column, _) = column();
    let mut draft = column;
    draft.shard = ColdShard {
        bytes: 0,
        dictionary_bytes: 0,
        digest: Digest(0),
    };
    assert_eq!(draft.adopt(&column.encode_header()), Ok(column));
    draft.frame_rows = 45;
    assert!(draft.adopt(&column.encode_header()).is_err());
}

#[test]
fn contradictions_in_a_manifest_are_named() {
    type Edit = fn(&mut ColdColumn);
    let cases: [(Edit, &str); 6] = [
        (
            |c| c.frame_rows = 31,
            "frame_rows of it is 31, expected a multiple of 15",
        ),
        (|c| c.frame_rows = 1 << 40, "frame_rows of it is"),
        (
            |c| c.shard.dictionary_bytes = MAX_DICTIONARY_BYTES + 1,
            "dictionary_bytes of it is 1048577",
        ),
        (
            |c| c.shard.bytes = 4_196,
            "bytes of it is 4196, expected at least 4201",
        ),
        (|c| c.shard.bytes = 0, "bytes of it is 0"),
        (
            |c| c.header.column.row_count = (1 << 36) - 1,
            "frames of it is 2290649225, expected at most 13421772 in a column",
        ),
    ];
    for (edit, expected) in cases {
        let (mut column, _) = column();
        edit(&mut column);
        let said = column.check("it").unwrap_err().to_string();
        assert!(said.contains(expected), "`{said}` lacks `{expected}`");
    }
}
