//! The kernels' source, compiled for the processor, against the processor's decoder.

use std::{path::Path, process::Command};

use libloading::{Library, Symbol};

use engram::{bf16, f16};

use super::*;
use crate::row_index;

/// A kernel called by its structure, a number of blocks and of threads.
type Run<T> = unsafe extern "C" fn(*const T, u32, u32);

/// The kernels as a library; none, said aloud, where there is no C++ compiler.
fn library() -> Option<(tempfile::TempDir, Library)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/host.cpp");
    let compiler = std::env::var_os("CXX").unwrap_or("c++".into());
    let mut command = Command::new(compiler);
    command.args([
        "-std=c++17",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        "-o",
    ]);
    match command.arg(&path).arg(source).status() {
        Err(reason) => {
            println!("skipped: no C++ compiler: {reason}");
            None
        }
        Ok(status) => {
            assert!(status.success(), "the kernels do not compile as C++");
            // SAFETY: it has no initialisers but the language's.
            let library = unsafe { Library::new(&path) }.unwrap();
            Some((folder, library))
        }
    }
}

fn run<T>(library: &Library, kernel: &Kernel, call: &T) {
    let name = format!("run_{}", Kernel::NAMES[kernel.index()]);
    // SAFETY: host.cpp has functions of this type, by these names.
    let function: Symbol<'_, Run<T>> = unsafe { library.get(name.as_bytes()) }.unwrap();
    let blocks = u32::try_from(kernel.threads().div_ceil(64)).unwrap();
    // SAFETY: the structures are those of the kernels, and point to memory that is there.
    unsafe { function(call, blocks, 64) };
}

const VALUE_TYPES: [ValueType; 3] = [ValueType::F32, ValueType::F16, ValueType::Bf16];

/// Whether both are the same values, any NaN being as good as another.
fn same(value_type: ValueType, found: &[u8], expected: &[u8]) -> bool {
    let is_nan = |value: &[u8]| match *value {
        [a, b] if value_type == ValueType::F16 => f16::from_le_bytes([a, b]).is_nan(),
        [a, b] => bf16::from_le_bytes([a, b]).is_nan(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).is_nan(),
        _ => unreachable!("values have 2 or 4 bytes"),
    };
    let values = found
        .chunks(value_type.bytes())
        .zip(expected.chunks(value_type.bytes()));
    found.len() == expected.len()
        && values
            .into_iter()
            .all(|(a, b)| a == b || is_nan(a) && is_nan(b))
}

/// Rows of every codec: all codes under all scales, and every half.
fn rows() -> Vec<(RowCodec, Vec<u8>)> {
    let codes = 0..=255_u8;
    let mut fp8 = Vec::new();
    for scale in 0..=255_u8 {
        fp8.extend(codes.clone());
        fp8.extend([scale; 8]);
        // Groups of their own scales.
        fp8.extend(codes.clone().rev());
        fp8.extend([0, 1, 2, 3, 4, 5, 6, 7].map(|group| scale.wrapping_mul(group)));
    }
    let halves: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    // All exponents and signs, with the digits that decide how a value rounds.
    let floats: Vec<u8> = (0..=0x1FF_u32)
        .flat_map(|top| {
            [
                0, 1, 0xFFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001, 0x2_7FFF, 0x1_8000, 0x3000,
                0x7F_FFFF, 0x40_0000, 0x7F_F000, 0x7F_EFFF, 0x12_3456,
            ]
            .map(|low| top << 23 | low)
        })
        .flat_map(u32::to_le_bytes)
        .collect();
    let scaled = |scale: f32| RowCodec::Fp8Scaled {
        width: 256,
        scale_bits: scale.to_bits(),
    };
    vec![
        (
            RowCodec::Fp8Ue8m0 {
                width: 256,
                group: 32,
            },
            fp8,
        ),
        (RowCodec::F16 { width: 64 }, halves.clone()),
        (RowCodec::Bf16 { width: 64 }, halves.clone()),
        // A width that eight does not divide.
        (RowCodec::Bf16 { width: 4 }, halves),
        (RowCodec::F32 { width: 64 }, floats.clone()),
        (RowCodec::F32 { width: 4 }, floats),
        (scaled(0.000_199), codes.clone().collect()),
        (scaled(-3e38), codes.clone().collect()),
        (scaled(1e-42), codes.collect()),
    ]
}

#[test]
fn decoded_values_are_the_processors() {
    let Some((_folder, library)) = library() else {
        return;
    };
    for (codec, rows) in rows() {
        let row_bytes = codec.row_bytes();
        let count = rows.len() / row_bytes;
        // A row of zeros comes first, then all backwards.
        let mut addresses = vec![0];
        addresses.extend(
            rows.chunks_exact(row_bytes)
                .rev()
                .map(|row| row.as_ptr() as u64),
        );
        let mut backwards: Vec<u8> = Vec::new();
        rows.chunks_exact(row_bytes)
            .rev()
            .for_each(|row| backwards.extend(row));
        for value_type in VALUE_TYPES {
            let mut expected = vec![0; codec.width() * value_type.bytes()];
            expected.extend(value_type.decode(codec, &backwards));
            for step in [1, values_per_thread(codec, row_bytes)] {
                let mut found = vec![0xAA_u8; expected.len()];
                let call = Decode {
                    addresses: addresses.as_ptr() as u64,
                    out: found.as_mut_ptr() as u64,
                    rows: u32::try_from(count + 1).unwrap(),
                    step,
                    codec: Codec::new(LayerId(1), codec).unwrap(),
                };
                run(&library, &Kernel::Decode(call, codec, value_type), &call);
                assert!(
                    same(value_type, &found, &expected),
                    "{codec:?} {value_type:?} step {step}"
                );
            }
        }
    }
}

#[test]
fn gathered_values_are_the_processors() {
    let Some((_folder, library)) = library() else {
        return;
    };
    let codec = RowCodec::Fp8Ue8m0 {
        width: 256,
        group: 32,
    };
    let layout = engram::RecordLayout::new(codec.row_bytes());
    let row_of = |id: u64| -> Vec<u8> {
        (0..264)
            .map(|index| id.wrapping_mul(0x9E37_79B9).to_le_bytes()[index % 5] & 0x7E)
            .collect()
    };
    // Three columns of 40 rows; the second is not in memory.
    let shards: Vec<Vec<u8>> = (0..3)
        .map(|column| {
            let mut shard = vec![0; usize::try_from(layout.shard_bytes(40)).unwrap()];
            for record in 0..40 {
                let start = usize::try_from(layout.record_offset(record)).unwrap();
                shard[start..start + 264].copy_from_slice(&row_of(40 * column + record));
            }
            shard
        })
        .collect();
    let columns: Vec<MappedColumn> = (0..3)
        .map(|column| MappedColumn {
            first_row: 40 * column as u64,
            address: if column == 1 {
                0
            } else {
                shards[column].as_ptr() as u64
            },
        })
        .collect();
    // Rows 45 to 49 and 2 are hot, with other bytes than their columns have.
    let hot_ids = [45, 46, 47, 48, 49, 2];
    let mut entries = vec![0_u64; 16];
    let mut hot_rows = Vec::new();
    for (place, id) in hot_ids.into_iter().enumerate() {
        row_index::insert(&mut entries, id, place as u64);
        hot_rows.extend(row_of(1_000 + id));
    }
    let ids: Vec<u64> = (0..120).chain([2, 119, 45]).collect();
    let mut bytes = Vec::new();
    for &id in &ids {
        bytes.extend(match id {
            _ if hot_ids.contains(&id) => row_of(1_000 + id),
            40..80 => vec![0; 264],
            _ => row_of(id),
        });
    }
    for value_type in VALUE_TYPES {
        let mut expected = value_type.decode(codec, &bytes);
        // Rows that are nowhere are zeros, whatever the codec makes of zero bytes.
        let row = 256 * value_type.bytes();
        for (place, id) in ids.iter().enumerate() {
            if (40..80).contains(id) && !hot_ids.contains(id) {
                expected[place * row..(place + 1) * row].fill(0);
            }
        }
        for step in [1, 8] {
            let mut found = vec![0xAA_u8; expected.len()];
            let call = Gather {
                ids: ids.as_ptr() as u64,
                columns: columns.as_ptr() as u64,
                hot_entries: entries.as_ptr() as u64,
                hot_rows: hot_rows.as_ptr() as u64,
                out: found.as_mut_ptr() as u64,
                rows: u32::try_from(ids.len()).unwrap(),
                step,
                column_count: 3,
                hot_mask: 15,
                hot_stride: 264,
                header_bytes: 4_096,
                group_records: u32::try_from(layout.group_records()).unwrap(),
                group_bytes: u32::try_from(layout.group_bytes()).unwrap(),
                stride: u32::try_from(layout.stride()).unwrap(),
                codec: Codec::new(LayerId(1), codec).unwrap(),
            };
            run(&library, &Kernel::Gather(call, codec, value_type), &call);
            assert!(
                same(value_type, &found, &expected),
                "{value_type:?} step {step}"
            );
        }
    }
}

#[test]
fn a_codec_without_a_kernel_is_refused_by_name() {
    let refused = Codec::new(LayerId(1), RowCodec::Q8_0 { width: 256 }).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "layer 1: no kernel decodes rows of Q8_0 { width: 256 }; the store decodes them on the host"
    );
}
