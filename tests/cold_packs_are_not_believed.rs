//! Whatever is wrong with a cold pack is an error of its own, and never a wrong row.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use engram::{
    Config, FormatError, LayerId, LookupError, OpenError, Reader, RowId, Store, read_manifest,
};
use engram_cold::{ColdFile, Encoder};
use engram_format::{
    ColdColumn, Digest, FramePlace, HEADER_BYTES, MANIFEST_FILE, Manifest, Storage,
};
use engram_io::PreadReader;
use engram_pack::{FreezeOptions, ThawOptions, VerifyOptions, freeze, thaw, verify};
use engram_tests::{
    COLD, Fixture, files, format_spec, look_up, make_cold, open, small_frames, whole_tables,
};

const SHARD: &str = "layer-01/order-3-head-1.cold";
/// Index of its column. It has 37 rows of 66 bytes from row 83 on, all in one frame.
const COLUMN: u32 = 3;

/// A cold pack in a folder of its own.
struct Cold {
    fixture: Fixture,
    /// What the index of the shard says of the seals of its rows.
    seals: u64,
}

impl Cold {
    fn new() -> Self {
        let fixture = Fixture::new("deepseek");
        make_cold(&fixture.pack(), &fixture.folder().join("cold"));
        let mut cold = Self { fixture, seals: 0 };
        cold.seals = cold.place().seals;
        cold
    }

    fn pack(&self) -> PathBuf {
        self.fixture.folder().join("cold")
    }

    fn shard(&self) -> PathBuf {
        self.pack().join(SHARD)
    }

    fn manifest(&self) -> Manifest {
        read_manifest(self.pack()).unwrap()
    }

    fn column(&self) -> ColdColumn {
        let manifest = self.manifest();
        let column = manifest.scheme.columns(0).nth(COLUMN as usize).unwrap();
        manifest.cold_column(0, column).unwrap()
    }

    /// Writes the shard anew with these frames and places, and makes all digests right: what a malicious author can do.
    fn forge(&self, dictionary: &[u8], frames: &[u8], edit: impl FnOnce(&mut Vec<FramePlace>)) {
        let mut column = self.column();
        column.shard.dictionary_bytes = dictionary.len().try_into().unwrap();
        let mut places = vec![Encoder::place(0, frames, self.seals)];
        edit(&mut places);
        let head = column.encode_head(dictionary, &places);
        column.shard.digest = Digest::of(&head);
        column.shard.bytes = column.first_frame() + frames.len() as u64;
        let mut bytes = column.encode_header().to_vec();
        bytes.extend(head);
        bytes.extend(frames);
        fs::write(self.shard(), bytes).unwrap();
        let mut manifest = self.manifest();
        let Storage::Cold { tables } = &mut manifest.storage else {
            unreachable!()
        };
        tables[0].shards[COLUMN as usize] = column.shard;
        fs::write(self.pack().join(MANIFEST_FILE), manifest.to_text()).unwrap();
    }

    fn place(&self) -> FramePlace {
        let reader = Box::new(PreadReader::open(&self.shard()).unwrap());
        let file = ColdFile::open(&self.shard(), reader, self.column()).unwrap();
        file.frames().index().place(0)
    }

    /// The rows of the frame as they are.
    fn rows(&self) -> Vec<u8> {
        let column = self.column().header.column;
        let ids: Vec<RowId> = (column.first_row..column.first_row + column.row_count)
            .map(RowId)
            .collect();
        let store = open(&self.fixture.pack(), Reader::Memory);
        look_up(&store, LayerId(1), &ids).unwrap()
    }

    /// Why the pack does not open, as every way to open it says.
    fn refusal(&self) -> OpenError {
        let [direct, memory] = [Reader::Direct, Reader::Memory]
            .map(|reader| Store::open(self.pack(), Config::new().reader(reader)).unwrap_err());
        assert_eq!(direct.to_string(), memory.to_string());
        let report = verify(&self.pack(), &VerifyOptions::default(), &|_| ());
        if let Ok(report) = report {
            assert_eq!(report.damage.len(), 1, "{report:?}");
            assert_eq!(report.damage[0].file, SHARD);
        }
        direct
    }

    /// What a lookup of a row of the frame says. No other row suffers, and everything else names the frame, too.
    fn damage(&self) -> String {
        let store = open(&self.pack(), Reader::Direct);
        let first = self.column().header.column.first_row;
        let error = look_up(&store, LayerId(1), &[RowId(first + 5)]).unwrap_err();
        let LookupError::DamagedFrame { path, offset, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*path, self.shard());
        assert_eq!(*offset, self.place().offset);
        assert_eq!(
            look_up(&store, LayerId(1), &[RowId(first - 1)])
                .unwrap()
                .len(),
            66
        );
        assert!(Store::open(self.pack(), Config::new().reader(Reader::Memory)).is_err());
        let report = verify(&self.pack(), &VerifyOptions::default(), &|_| ()).unwrap();
        let [place] = &report.damage[..] else {
            panic!("{report:?}");
        };
        assert_eq!(
            (&*place.file, place.row, place.records),
            (SHARD, Some(first), 37)
        );
        assert_eq!(place.offset, *offset);
        let again = self.fixture.folder().join("again");
        let thawed = thaw(&self.pack(), &again, &ThawOptions::default(), &|_| ());
        let thawed = format!("{:#}", thawed.unwrap_err());
        assert!(thawed.contains("frame 0"), "{thawed}");
        assert!(!again.join(MANIFEST_FILE).exists());
        place.what.clone()
    }
}

fn format_error(error: OpenError) -> FormatError {
    match error {
        OpenError::Format { path, cause } => {
            assert!(path.ends_with(SHARD), "{}", path.display());
            cause
        }
        error => panic!("{error}"),
    }
}

#[test]
fn every_flipped_bit_of_a_file_is_noticed() {
    let cold = Cold::new();
    let right = whole_tables(&open(&cold.pack(), Reader::Direct));
    let bytes = fs::read(cold.shard()).unwrap();
    let frames = usize::try_from(cold.place().offset).unwrap();
    // Of the header's zeros, some; of all that is not the header, every byte.
    for at in (0..HEADER_BYTES)
        .step_by(61)
        .chain(HEADER_BYTES..bytes.len())
    {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(cold.shard(), damaged).unwrap();
        match Store::open(cold.pack(), Config::new().cache_bytes(0).io(1, 1)) {
            Err(error) => {
                assert!(at < frames, "{at}: {error}");
                drop(format_error(error));
            }
            Ok(store) => {
                assert!(at >= frames, "{at}");
                let rows = engram_tests::all_rows(&store, 0);
                let error = look_up(&store, LayerId(1), &rows).unwrap_err();
                assert!(matches!(error, LookupError::DamagedFrame { .. }), "{error}");
            }
        }
    }
    fs::write(cold.shard(), bytes).unwrap();
    assert!(whole_tables(&open(&cold.pack(), Reader::Direct)) == right);
}

#[test]
fn a_file_that_is_cut_short_or_missing_is_named() {
    let cold = Cold::new();
    let bytes = fs::read(cold.shard()).unwrap();
    for len in [0, 1, HEADER_BYTES, bytes.len() - 1] {
        fs::write(cold.shard(), &bytes[..len]).unwrap();
        let refused = format_error(cold.refusal());
        let (found, expected) = (len as u64, bytes.len() as u64);
        assert_eq!(refused, FormatError::Size { found, expected });
    }
    fs::remove_file(cold.shard()).unwrap();
    assert!(matches!(cold.refusal(), OpenError::Io(_)));
}

#[test]
fn a_frame_of_another_place_or_pack_is_refused() {
    let cold = Cold::new();
    let bytes = fs::read(cold.shard()).unwrap();
    // The whole file of another column.
    fs::copy(
        cold.pack().join("layer-01/order-3-head-0.cold"),
        cold.shard(),
    )
    .unwrap();
    let other = format_error(cold.refusal());
    assert!(
        matches!(
            other,
            FormatError::Size { .. } | FormatError::HeaderField { .. }
        ),
        "{other}"
    );
    fs::write(cold.shard(), &bytes).unwrap();
    // The same rows in another order, in a frame that is right in all else.
    let mut rows = cold.rows();
    rows.rotate_left(66);
    let frame = Encoder::new(3, &[]).encode(&rows).to_vec();
    cold.forge(&[], &frame, |_| ());
    let said = cold.damage();
    assert!(said.contains("seals have digest"), "{said}");
}

#[test]
fn a_frame_cut_short_is_refused_though_its_checksum_is_right() {
    let cold = Cold::new();
    let frame = Encoder::new(3, &[]).encode(&cold.rows()).to_vec();
    for len in [1, 5, frame.len() / 2, frame.len() - 1] {
        cold.forge(&[], &frame[..len], |_| ());
        let said = cold.damage();
        assert!(said.contains("cannot be decompressed"), "{len}: {said}");
        fs::remove_dir_all(cold.fixture.folder().join("again")).unwrap();
    }
    let mut longer = frame.clone();
    longer.extend(&frame);
    cold.forge(&[], &longer[..frame.len() + 300], |_| ());
    let said = cold.damage();
    assert!(said.contains("something follows it"), "{said}");
}

#[test]
fn a_frame_that_expands_beyond_its_rows_is_refused() {
    let cold = Cold::new();
    let bomb = Encoder::new(3, &[]).encode(&vec![0; 32 << 20]).to_vec();
    cold.forge(&[], &bomb, |_| ());
    let said = cold.damage();
    assert!(
        said.contains("is of 33554432 bytes, its rows have 2442"),
        "{said}"
    );
    fs::remove_dir_all(cold.fixture.folder().join("again")).unwrap();
    // One that says to hold as much as its rows, and holds more: the size in its header, of two bytes, is forged.
    let mut rows = cold.rows();
    let expected = rows.len();
    rows.extend([7; 66]);
    let mut frame = Encoder::new(3, &[]).encode(&rows).to_vec();
    let size = u16::try_from(expected - 256).unwrap().to_le_bytes();
    let found = u16::try_from(rows.len() - 256).unwrap().to_le_bytes();
    assert_eq!(frame[5..7], found, "RFC 8878 has the size there");
    frame[5..7].copy_from_slice(&size);
    cold.forge(&[], &frame, |_| ());
    let said = cold.damage();
    assert!(said.contains("cannot be decompressed"), "{said}");
    fs::remove_dir_all(cold.fixture.folder().join("again")).unwrap();
    // A frame that decoders skip holds nothing.
    cold.forge(
        &[],
        &[0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4],
        |_| (),
    );
    let said = cold.damage();
    assert!(said.contains("is of 0 bytes"), "{said}");
}

#[test]
fn an_index_that_lies_is_refused_though_its_digest_is_right() {
    let cold = Cold::new();
    let frame = Encoder::new(3, &[]).encode(&cold.rows()).to_vec();
    for len in [0, frame.len() - 1, frame.len() + 1, u32::MAX as usize] {
        cold.forge(&[], &frame, |places| {
            places[0].len = len.try_into().unwrap()
        });
        let refused = format_error(cold.refusal());
        assert!(
            matches!(refused, FormatError::FrameIndex { .. }),
            "{len}: {refused}"
        );
    }
    cold.forge(&[], &frame, |_| ());
    assert_eq!(whole_tables(&open(&cold.pack(), Reader::Direct)).len(), 2);
    // Sizes of which nothing may be allocated before the file is seen to have them.
    let mut manifest = cold.manifest();
    let Storage::Cold { tables } = &mut manifest.storage else {
        unreachable!()
    };
    tables[0].shards[COLUMN as usize].bytes = 1 << 60;
    fs::write(cold.pack().join(MANIFEST_FILE), manifest.to_text()).unwrap();
    let refused = format_error(cold.refusal());
    assert!(
        matches!(refused, FormatError::Size { expected, .. } if expected == 1 << 60),
        "{refused}"
    );
}

#[test]
fn a_dictionary_that_is_none_or_of_another_pack_is_refused() {
    let cold = Cold::new();
    let rows = cold.rows();
    let words = format_spec().join("vectors/cold").join(COLD[1]);
    let manifest = read_manifest(&words).unwrap();
    let column = manifest.scheme.columns(0).next().unwrap();
    let column = manifest.cold_column(0, column).unwrap();
    let bytes = fs::read(words.join("layer-01/order-2-head-0.cold")).unwrap();
    let at = HEADER_BYTES + 8;
    let dictionary = &bytes[at..at + column.shard.dictionary_bytes as usize];
    assert!(!dictionary.is_empty());
    // A frame of this dictionary, where the pack says that there is none, and the other way round.
    let with = Encoder::new(3, dictionary).encode(&rows).to_vec();
    let without = Encoder::new(3, &[]).encode(&rows).to_vec();
    cold.forge(dictionary, &with, |_| ());
    assert_eq!(whole_tables(&open(&cold.pack(), Reader::Direct)).len(), 2);
    cold.forge(&[], &with, |_| ());
    let said = cold.damage();
    assert!(said.contains("ictionary mismatch"), "{said}");
    cold.forge(dictionary, &without, |_| ());
    assert_eq!(whole_tables(&open(&cold.pack(), Reader::Direct)).len(), 2);
    // It begins as one and goes on as none, or has another beginning.
    let [mut broken, mut other] = [dictionary.to_vec(), dictionary.to_vec()];
    broken[8..].fill(0xFF);
    other[0] ^= 1;
    for none in [broken, other] {
        cold.forge(&none, &with, |_| ());
        let refused = format_error(cold.refusal());
        let bytes = none.len();
        assert_eq!(refused, FormatError::Dictionary { bytes });
    }
    // Of another pack: the digest tells.
    cold.forge(dictionary, &with, |_| ());
    let mut file = fs::read(cold.shard()).unwrap();
    file[at + 100] ^= 1;
    fs::write(cold.shard(), file).unwrap();
    let refused = format_error(cold.refusal());
    assert!(
        matches!(refused, FormatError::Checksum { what, .. } if what.contains("dictionary")),
        "{refused}"
    );
}

#[test]
fn rows_that_differ_from_the_digests_are_not_thawed() {
    let cold = Cold::new();
    let mut manifest = cold.manifest();
    manifest.tables[0].shards[COLUMN as usize].data = Digest(7);
    let text = manifest.to_text();
    fs::write(cold.pack().join(MANIFEST_FILE), text).unwrap();
    // The header has the other digest.
    let refused = format_error(cold.refusal());
    assert!(
        matches!(
            refused,
            FormatError::HeaderField {
                field: "data digest",
                ..
            }
        ),
        "{refused}"
    );
    let mut file = fs::read(cold.shard()).unwrap();
    file[..HEADER_BYTES].copy_from_slice(&cold.column().encode_header());
    fs::write(cold.shard(), file).unwrap();
    let again = cold.fixture.folder().join("again");
    let thawed = thaw(&cold.pack(), &again, &ThawOptions::default(), &|_| ());
    let said = format!("{:#}", thawed.unwrap_err());
    assert!(said.contains("its rows have the digests"), "{said}");
    assert!(!again.join(MANIFEST_FILE).exists());
    let report = verify(&cold.pack(), &VerifyOptions::default(), &|_| ()).unwrap();
    assert!(
        report.damage[0].what.contains("data digest is"),
        "{report:?}"
    );
}

#[test]
fn a_damaged_pack_is_not_frozen() {
    let fixture = Fixture::new("deepseek");
    let cold = fixture.folder().join("cold");
    let shard = fixture.pack().join("layer-01/order-3-head-1.shard");
    let right = fs::read(&shard).unwrap();
    // A row, its padding, its seal, padding after the last record of the block, and the header.
    for at in [4_096 + 80, 4_096 + 66, 4_096 + 79, 8_191, 24] {
        let mut damaged = right.clone();
        damaged[at] ^= 1;
        fs::write(&shard, damaged).unwrap();
        let options = FreezeOptions {
            resume: true,
            ..small_frames()
        };
        let refused = freeze(&fixture.pack(), &cold, &options, &|_| ());
        let said = format!("{:#}", refused.unwrap_err());
        assert!(said.contains("order-3-head-1.shard"), "{at}: {said}");
        if at == 4_096 + 80 {
            assert!(said.contains("row 84 of layer 1 is damaged"), "{said}");
        }
        assert!(!cold.join(MANIFEST_FILE).exists());
    }
    fs::write(&shard, right).unwrap();
    let options = FreezeOptions {
        resume: true,
        ..small_frames()
    };
    freeze(&fixture.pack(), &cold, &options, &|_| ()).unwrap();
    let again = fixture.folder().join("again");
    thaw(&cold, &again, &ThawOptions::default(), &|_| ()).unwrap();
    assert!(files(&again) == files(&fixture.pack()));
}

/// What another program makes of a file of a cold pack.
#[test]
fn any_tool_of_zstandard_finds_the_rows() {
    let found = std::process::Command::new("zstd").arg("--version").output();
    if found.is_err() {
        println!("skipped: there is no zstd");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in COLD {
        let pack: &Path = &format_spec().join("vectors/cold").join(name);
        let manifest = read_manifest(pack).unwrap();
        for column in manifest.scheme.columns(0) {
            let cold = manifest.cold_column(0, column).unwrap();
            let path = pack.join(manifest.shard_path(cold.header.layer, &column));
            let mut command = std::process::Command::new("zstd");
            command.args(["-dcq"]).stdin(fs::File::open(&path).unwrap());
            if cold.shard.dictionary_bytes > 0 {
                let at = HEADER_BYTES + 8;
                let bytes = &fs::read(&path).unwrap()[at..];
                let words = folder.path().join("words");
                fs::write(&words, &bytes[..cold.shard.dictionary_bytes as usize]).unwrap();
                command.arg("-D").arg(words);
            }
            let rows = command.output().unwrap();
            assert!(rows.status.success(), "{rows:?}");
            assert_eq!(Digest::of(&rows.stdout), cold.header.digests.rows);
        }
    }
}
