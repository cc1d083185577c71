//! The kernels' source, compiled for the processor, against the processor's decoder.

use std::{path::Path, process::Command, sync::Arc};

use libloading::{Library, Symbol};

use engram::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{device::Device, keep_alive::Used, row_index};

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

/// Codecs whose codes are told apart by their place in a row.
fn packed_codecs() -> Vec<RowCodec> {
    let scale_bits = 0.37_f32.to_bits();
    let grouped = [
        ScaleType::F32,
        ScaleType::F16,
        ScaleType::Bf16,
        ScaleType::E4m3,
        ScaleType::Ue8m0,
    ]
    .into_iter()
    .flat_map(|scale| {
        // Groups that eight values divide, and that they do not.
        let groups = [64, 16, 4, 2].into_iter().flat_map(move |group| {
            let width = 64;
            [
                RowCodec::Fp8Grouped {
                    width,
                    group,
                    scale,
                },
                RowCodec::Int8 {
                    width,
                    group,
                    scale,
                },
            ]
        });
        groups.chain([16, 64].map(|group| RowCodec::Int4 {
            width: 64,
            group,
            scale,
        }))
    });
    let others = [
        RowCodec::Fp8 { width: 64 },
        RowCodec::Fp8 { width: 3 },
        RowCodec::Nvfp4 {
            width: 64,
            scale_bits,
        },
        RowCodec::Mxfp4 { width: 64 },
        RowCodec::Q8_0 { width: 64 },
        RowCodec::Q4_0 { width: 64 },
        RowCodec::Iq4Nl { width: 64 },
        RowCodec::Mxfp4Gguf { width: 64 },
        RowCodec::Nvfp4Gguf {
            width: 128,
            scale_bits,
        },
        RowCodec::Q4K { width: 512 },
        RowCodec::Q5K { width: 512 },
    ];
    grouped.chain(others).collect()
}

/// Rows of every codec: all codes under all scales and every half, or, of codecs with many places, random bytes that
/// hold every code at every place.
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
    let mut random = StdRng::seed_from_u64(17);
    let packed = packed_codecs().into_iter().map(|codec| {
        let mut first = vec![0_u8; codec.row_bytes()];
        random.fill(first.as_mut_slice());
        let rows = (0..=255).flat_map(|shift| {
            let bytes = first.iter();
            bytes.map(move |byte| byte.wrapping_add(shift))
        });
        (codec, rows.collect())
    });
    let whole = vec![
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
    ];
    whole.into_iter().chain(packed).collect()
}

/// Rows of a codec to decode: each address is a place in `rows`, or none for a row of zeros.
struct Task<'a> {
    codec: RowCodec,
    value_type: ValueType,
    step: u32,
    rows: &'a [u8],
    places: &'a [Option<usize>],
}

impl Task<'_> {
    /// The addresses, if the rows lie at `rows`.
    fn addresses(&self, rows: u64) -> Vec<u64> {
        let places = self.places.iter();
        places
            .map(|place| place.map_or(0, |place| rows + place as u64))
            .collect()
    }

    fn out_bytes(&self) -> usize {
        self.places.len() * self.codec.width() * self.value_type.bytes()
    }

    fn call(&self, addresses: u64, out: u64) -> Decode {
        Decode {
            addresses,
            out,
            rows: u32::try_from(self.places.len()).unwrap(),
            step: self.step,
            codec: self.codec.into(),
        }
    }
}

/// Checks `decode` on rows of every codec.
fn check_decoding(name: &str, decode: impl Fn(&Task<'_>) -> Vec<u8>) {
    for (codec, rows) in rows() {
        let row_bytes = codec.row_bytes();
        // A row of zeros comes first, then all backwards.
        let mut places = vec![None];
        places.extend((0..rows.len()).step_by(row_bytes).rev().map(Some));
        let backwards: Vec<u8> = (rows.chunks_exact(row_bytes).rev().flatten())
            .copied()
            .collect();
        for value_type in VALUE_TYPES {
            let mut expected = vec![0; codec.width() * value_type.bytes()];
            expected.extend(value_type.decode(codec, &backwards));
            for step in [1, values_per_thread(codec, row_bytes)] {
                let found = decode(&Task {
                    codec,
                    value_type,
                    step,
                    rows: &rows,
                    places: &places,
                });
                assert!(
                    same(value_type, &found, &expected),
                    "{name}: {codec:?} {value_type:?} step {step}"
                );
            }
        }
    }
}

#[test]
fn decoded_values_are_the_processors() {
    let Some((_folder, library)) = library() else {
        return;
    };
    check_decoding("C++", |task| {
        let addresses = task.addresses(task.rows.as_ptr() as u64);
        let mut found = vec![0xAA_u8; task.out_bytes()];
        let call = task.call(addresses.as_ptr() as u64, found.as_mut_ptr() as u64);
        run(
            &library,
            &Kernel::Decode(call, task.codec, task.value_type),
            &call,
        );
        found
    });
}

#[test]
fn a_gpu_decodes_to_the_processors_values() {
    let mut devices = vec![Device::host()];
    match Device::cuda(0) {
        Ok(gpu) => devices.push(gpu),
        Err(reason) => {
            assert!(std::env::var_os("ENGRAM_NEEDS_GPU").is_none(), "{reason}");
            println!("skipped on a GPU: {reason}");
        }
    }
    for device in devices {
        let stream = device.stream(0).unwrap();
        check_decoding(&device.name(), |task| {
            let mut rows = device.pinned(task.rows.len()).unwrap();
            rows.as_mut_slice().copy_from_slice(task.rows);
            let mut addresses = device.pinned(8 * task.places.len()).unwrap();
            addresses
                .as_mut_words()
                .copy_from_slice(&task.addresses(rows.address()));
            let out = Arc::new(device.memory(task.out_bytes()).unwrap());
            let call = task.call(addresses.address(), out.address());
            let used: [Used; 3] = [Arc::new(rows), Arc::new(addresses), out.clone()];
            // SAFETY: the stream keeps all memory, which nobody else uses until it is read.
            stream
                .put(used, || unsafe {
                    stream.launch(&Kernel::Decode(call, task.codec, task.value_type))
                })
                .unwrap();
            stream.read(&out).unwrap()
        });
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
                codec: codec.into(),
            };
            run(&library, &Kernel::Gather(call, codec, value_type), &call);
            assert!(
                same(value_type, &found, &expected),
                "{value_type:?} step {step}"
            );
        }
    }
}
