//! Decoding rows of each codec to `f32`, beside a copy of as many bytes as come out.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engram::{RowCodec, ScaleType};

/// What comes out stays in the processor's second cache.
const VALUES: usize = 64 << 10;

/// Codecs as they are published, of a width that all have.
fn codecs() -> Vec<(&'static str, RowCodec)> {
    let (width, scale_bits) = (256, 0.000_2_f32.to_bits());
    let [f16, f32, e4m3] = [ScaleType::F16, ScaleType::F32, ScaleType::E4m3];
    vec![
        (
            "fp8_e4m3_ue8m0 of 32",
            RowCodec::Fp8Ue8m0 { width, group: 32 },
        ),
        ("fp8_e4m3_scaled", RowCodec::Fp8Scaled { width, scale_bits }),
        (
            "fp8_e4m3_grouped, f32 a row",
            RowCodec::Fp8Grouped {
                width,
                group: width,
                scale: f32,
            },
        ),
        (
            "int8, f32 of 32",
            RowCodec::Int8 {
                width,
                group: 32,
                scale: f32,
            },
        ),
        (
            "int4, f16 of 16",
            RowCodec::Int4 {
                width,
                group: 16,
                scale: f16,
            },
        ),
        (
            "int4, e4m3 of 16",
            RowCodec::Int4 {
                width,
                group: 16,
                scale: e4m3,
            },
        ),
        (
            "int4, f16 a row",
            RowCodec::Int4 {
                width,
                group: width,
                scale: f16,
            },
        ),
        ("nvfp4", RowCodec::Nvfp4 { width, scale_bits }),
        ("mxfp4", RowCodec::Mxfp4 { width }),
        ("q8_0", RowCodec::Q8_0 { width }),
        ("q4_0", RowCodec::Q4_0 { width }),
        ("iq4_nl", RowCodec::Iq4Nl { width }),
        ("mxfp4_gguf", RowCodec::Mxfp4Gguf { width }),
        ("nvfp4_gguf", RowCodec::Nvfp4Gguf { width, scale_bits }),
        ("q4_k", RowCodec::Q4K { width }),
        ("q5_k", RowCodec::Q5K { width }),
        ("f16", RowCodec::F16 { width }),
        ("bf16", RowCodec::Bf16 { width }),
    ]
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("to f32");
    group.throughput(Throughput::Bytes(4 * VALUES as u64));
    let mut out = vec![0.0_f32; VALUES];
    let copied = vec![1.0_f32; VALUES];
    group.bench_function("memcpy", |b| {
        b.iter(|| out.copy_from_slice(black_box(&copied)))
    });
    for (name, codec) in codecs() {
        // Bytes below 120 make no NaN in any codec.
        let bytes = VALUES / codec.width() * codec.row_bytes();
        let rows: Vec<u8> = (0..120_u8).cycle().take(bytes).collect();
        group.bench_function(name, |b| {
            b.iter(|| codec.decode_f32(black_box(&rows), &mut out))
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
