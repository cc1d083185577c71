use super::{
    fp8::{e4m3, ue4m3},
    *,
};

/// The definition, in double precision.
fn by_definition(value: u8, scale: u8) -> f64 {
    let (exponent, mantissa) = (i32::from(value >> 3 & 0xF), f64::from(value & 7));
    let sign = if value & 0x80 == 0 { 1.0 } else { -1.0 };
    if value & 0x7F == 0x7F || scale == 255 {
        return f64::NAN;
    }
    let magnitude = if exponent == 0 {
        mantissa * 2_f64.powi(-9)
    } else {
        (1.0 + mantissa / 8.0) * 2_f64.powi(exponent - 7)
    };
    sign * magnitude * 2_f64.powi(i32::from(scale) - 127)
}

#[test]
fn every_pair_of_value_and_scale_decodes_exactly() {
    let codec = RowCodec::Fp8Ue8m0 {
        width: 256,
        group: 256,
    };
    let mut row: Vec<u8> = (0..=255).chain([0]).collect();
    for scale in 0..=255 {
        row[256] = scale;
        let mut floats = [0.0; 256];
        let mut halves = [bf16::ZERO; 256];
        codec.decode_f32(&row, &mut floats);
        codec.decode_bf16(&row, &mut halves);
        for value in 0..=255_u8 {
            let exact = by_definition(value, scale);
            let (float, half) = (floats[usize::from(value)], halves[usize::from(value)]);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "overflow to infinity is meant"
            )]
            let rounded = exact as f32;
            if exact.is_nan() {
                assert!(float.is_nan() && half.is_nan(), "{value:02x} {scale}");
                continue;
            }
            assert_eq!(float.to_bits(), rounded.to_bits(), "{value:02x} {scale}");
            if rounded.is_finite() {
                assert_eq!(
                    f64::from(float).to_bits(),
                    exact.to_bits(),
                    "{value:02x} {scale}"
                );
            }
            // Four significant bits survive bfloat16 unless it underflows to a subnormal.
            if rounded.is_normal() {
                assert_eq!(
                    half.to_f32().to_bits(),
                    rounded.to_bits(),
                    "{value:02x} {scale}"
                );
            } else {
                assert_eq!(half, bf16::from_f64(exact), "{value:02x} {scale}");
            }
        }
    }
}

#[test]
fn published_values_decode() {
    let codes = [
        0x00, 0x01, 0x07, 0x08, 0x30, 0x38, 0x3C, 0x40, 0x7E, 0x81, 0xB8, 0xFE,
    ];
    let values = [
        0.0,
        0.001_953_125,
        0.013_671_875,
        0.015_625,
        0.5,
        1.0,
        1.5,
        2.0,
        448.0,
        -0.001_953_125,
        -1.0,
        -448.0,
    ];
    assert_eq!(codes.map(e4m3), values);
}

#[test]
fn other_codecs_decode() {
    let mut out = [0.0; 2];
    RowCodec::F32 { width: 2 }.decode_f32(&[0, 0, 0x80, 0x3F, 0, 0, 0x20, 0xC1], &mut out);
    assert_eq!(out, [1.0, -10.0]);
    RowCodec::Bf16 { width: 2 }.decode_f32(&[0x80, 0x3F, 0x20, 0xC1], &mut out);
    assert_eq!(out, [1.0, -10.0]);
    RowCodec::F16 { width: 2 }.decode_f32(&[0, 0x3C, 0, 0xC9], &mut out);
    assert_eq!(out, [1.0, -10.0]);
    let scale_bits = 0.25_f32.to_bits();
    RowCodec::Fp8Scaled {
        width: 2,
        scale_bits,
    }
    .decode_f32(&[0x38, 0xC0], &mut out);
    assert_eq!(out, [0.25, -0.5]);
}

#[test]
fn nans_are_found_where_they_are() {
    let codec = RowCodec::Fp8Ue8m0 { width: 4, group: 2 };
    assert_eq!(codec.find_nan(&[0, 1, 0x7E, 3, 0, 254]), None);
    assert_eq!(
        codec.find_nan(&[0, 1, 0xFF, 3, 0, 255]),
        Some(NanPlace::Value(2))
    );
    assert_eq!(
        codec.find_nan(&[0, 1, 2, 3, 0, 255]),
        Some(NanPlace::Scale(1))
    );
    assert_eq!(
        RowCodec::Bf16 { width: 2 }.find_nan(&[0, 0, 0xC0, 0x7F]),
        Some(NanPlace::Value(1))
    );
}

#[test]
fn impossible_parameters_are_refused() {
    assert!(RowCodec::F32 { width: 0 }.validate().is_err());
    assert!(
        RowCodec::Fp8Ue8m0 {
            width: 256,
            group: 0
        }
        .validate()
        .is_err()
    );
    assert!(
        RowCodec::Fp8Ue8m0 {
            width: 250,
            group: 32
        }
        .validate()
        .is_err()
    );
    let scale_bits = f32::NAN.to_bits();
    assert!(
        RowCodec::Fp8Scaled {
            width: 1,
            scale_bits
        }
        .validate()
        .is_err()
    );
    assert!(
        RowCodec::Fp8Ue8m0 {
            width: 256,
            group: 32
        }
        .validate()
        .is_ok()
    );
}

/// Half-precision numbers of every kind, by the definition.
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
    let magnitude = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        0x1F if mantissa == 0.0 => f64::INFINITY,
        0x1F => f64::NAN,
        _ => (1.0 + mantissa / 1_024.0) * 2_f64.powi(exponent - 15),
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// FP4 codes by the definition.
fn fp4(code: u8) -> f64 {
    let (exponent, mantissa) = (i32::from(code >> 1 & 3), f64::from(code & 1));
    let magnitude = match exponent {
        0 => mantissa / 2.0,
        _ => (1.0 + mantissa / 2.0) * 2_f64.powi(exponent - 1),
    };
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// Decodes `rows` by every way, and compares with what each value must be.
fn check(codec: RowCodec, rows: &[u8], expected: impl Fn(usize) -> f64) {
    codec.validate().unwrap();
    for (way, found) in with_codec!(codec, codec => simd::decode_by_all(codec, rows)) {
        for (at, &found) in found.iter().enumerate() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is rounded once, as the definition says"
            )]
            let expected = expected(at) as f32;
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(
                same,
                "{codec:?} by {way}, value {at}: {found:e}, expected {expected:e}"
            );
        }
    }
}

/// A byte whose nibbles are `low` and `high`.
fn byte(low: usize, high: usize) -> u8 {
    u8::try_from(low | high << 4).unwrap()
}

/// Sixteen bytes with all codes as low nibbles, in order, and as high ones, the other way round.
fn all_nibbles() -> [u8; 16] {
    std::array::from_fn(|at| byte(at, 15 - at))
}

#[test]
fn every_code_under_every_half_precision_scale_decodes_exactly() {
    let codes: [u8; 256] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    for bits in 0..=u16::MAX {
        // Debug builds would take minutes for all of them.
        if cfg!(debug_assertions) && bits % 16 != 15 && bits % 0x400 > 2 {
            continue;
        }
        let [a, b] = bits.to_le_bytes();
        let q8: Vec<u8> = codes
            .chunks(32)
            .flat_map(|codes| [&[a, b], codes].concat())
            .collect();
        let integer = |at: usize| f64::from(codes[at].cast_signed());
        check(RowCodec::Q8_0 { width: 256 }, &q8, |at| {
            integer(at) * half(bits)
        });
        let q4 = [&[a, b][..], &all_nibbles()].concat();
        let code = |at: usize| if at < 16 { at } else { 31 - at };
        let value = |at: usize| (f64::from(u8::try_from(code(at)).unwrap()) - 8.0) * half(bits);
        check(RowCodec::Q4_0 { width: 32 }, &q4, value);
        let named = [
            -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
        ];
        let value = |at: usize| f64::from(named[code(at)]) * half(bits);
        check(RowCodec::Iq4Nl { width: 32 }, &q4, value);
        let scale = ScaleType::F16;
        let int8 = [&codes[..], &[a, b]].concat();
        check(
            RowCodec::Int8 {
                width: 256,
                group: 256,
                scale,
            },
            &int8,
            |at| integer(at) * half(bits),
        );
        check(
            RowCodec::Fp8Grouped {
                width: 256,
                group: 256,
                scale,
            },
            &int8,
            |at| by_definition(codes[at], 127) * half(bits),
        );
        let int4 = [&all_nibbles()[..], &[a, b]].concat();
        let code = |at: usize| {
            if at.is_multiple_of(2) {
                at / 2
            } else {
                15 - at / 2
            }
        };
        let value =
            |at: usize| f64::from((u8::try_from(code(at)).unwrap() << 4).cast_signed() >> 4);
        check(
            RowCodec::Int4 {
                width: 32,
                group: 32,
                scale,
            },
            &int4,
            |at| value(at) * half(bits),
        );
    }
}

#[test]
fn every_fp4_code_under_every_byte_of_scale_decodes_exactly() {
    let pair = |at: usize| {
        if at.is_multiple_of(2) {
            at / 2
        } else {
            15 - at / 2
        }
    };
    let half_of_block = |at: usize| if at < 16 { at } else { 31 - at };
    let code = |code: usize| fp4(u8::try_from(code).unwrap());
    // GGML has one zero.
    let one_zero = |value: f64| if value == 0.0 { 0.0 } else { value };
    for table_scale in [1.0_f32, 0.000_2, -3.7e-12, f32::MAX] {
        let (scale_bits, table_scale) = (table_scale.to_bits(), f64::from(table_scale));
        for scale in 0..=255_u8 {
            let row = [&all_nibbles()[..], &[scale, scale]].concat();
            check(
                RowCodec::Nvfp4 {
                    width: 32,
                    scale_bits,
                },
                &row,
                |at| code(pair(at)) * by_definition(scale, 127) * table_scale,
            );
            let eights: Vec<u8> = (0..32).map(|at| byte(at % 16, 15 - at % 16)).collect();
            let row = [&[scale; 4][..], &eights].concat();
            check(
                RowCodec::Nvfp4Gguf {
                    width: 64,
                    scale_bits,
                },
                &row,
                |at| {
                    let byte = at / 16 * 8 + at % 8;
                    let code_at = if at % 16 < 8 {
                        byte % 16
                    } else {
                        15 - byte % 16
                    };
                    one_zero(code(code_at)) * f64::from(ue4m3(scale)) * table_scale
                },
            );
        }
    }
    for scale in 0..=255_u8 {
        let row = [&all_nibbles()[..], &[scale]].concat();
        let power = by_definition(0x38, scale);
        check(RowCodec::Mxfp4 { width: 32 }, &row, |at| {
            code(pair(at)) * power
        });
        let power = 2_f64.powi(i32::from(scale) - 127);
        let row = [&[scale][..], &all_nibbles()].concat();
        check(RowCodec::Mxfp4Gguf { width: 32 }, &row, |at| {
            one_zero(code(half_of_block(at))) * power
        });
        assert_eq!(
            ue4m3(scale),
            match scale & 0x7F {
                _ if scale == 0x7F => 0.0,
                0x7F => 480.0,
                code => e4m3(code),
            }
        );
    }
}

#[test]
fn every_code_scale_and_minimum_of_k_quants_decodes_exactly() {
    // Some of every kind; differences of these are exact in double precision before they are rounded.
    for (d, min) in [
        (0x3C00, 0x3800),
        (0x0001, 0x03FF),
        (0xB555, 0x2E66),
        (0x7BFF, 0x7C00),
        (0x7E00, 0),
        (0x8000, 0),
    ] {
        for bits in 0..64_u8 {
            let other = 63 - bits;
            // All groups have the scale `bits` and the minimum `other`.
            let [scale, min_bits] = [bits, other].map(|bits| bits & 0x3F | (bits >> 4) << 6);
            let low = bits & 0xF | (other & 0xF) << 4;
            let mut head = vec![];
            head.extend(u16::to_le_bytes(d));
            head.extend(u16::to_le_bytes(min));
            head.extend([[scale; 4], [min_bits; 4], [low; 4]].as_flattened());
            let bytes = all_nibbles().repeat(8);
            let nibble = |at: usize| {
                if (at / 32).is_multiple_of(2) {
                    at % 16
                } else {
                    15 - at % 16
                }
            };
            let of = |code: usize| {
                let code = f64::from(u8::try_from(code).unwrap());
                half(d) * f64::from(bits) * code - half(min) * f64::from(other)
            };
            let row = [&head[..], &bytes].concat();
            check(RowCodec::Q4K { width: 256 }, &row, |at| of(nibble(at)));
            // Which groups have a fifth bit differs from value to value.
            let fifth = |at: usize| u8::try_from(at * 73 % 256).unwrap();
            let row = [head, (0..32).map(fifth).collect(), bytes].concat();
            check(RowCodec::Q5K { width: 256 }, &row, |at| {
                of(nibble(at) | usize::from(fifth(at % 32) >> (at / 32) & 1) << 4)
            });
        }
    }
}

#[test]
fn scales_that_are_not_finite_are_found_where_they_are() {
    let width = 64;
    let mut row = vec![0; RowCodec::Q8_0 { width }.row_bytes()];
    assert_eq!(RowCodec::Q8_0 { width }.find_nan(&row), None);
    row[35] = 0x7C;
    assert_eq!(
        RowCodec::Q8_0 { width }.find_nan(&row),
        Some(NanPlace::Scale(1))
    );
    let mut row = vec![0; RowCodec::Q4K { width: 256 }.row_bytes()];
    row[3] = 0xFE;
    assert_eq!(
        RowCodec::Q4K { width: 256 }.find_nan(&row),
        Some(NanPlace::Scale(1))
    );
    let scale = ScaleType::F32;
    let codec = RowCodec::Int4 {
        width,
        group: 32,
        scale,
    };
    let mut row = vec![0xFF; 32];
    row.extend([1.0, f32::NAN].map(f32::to_le_bytes).as_flattened());
    assert_eq!(codec.find_nan(&row), Some(NanPlace::Scale(1)));
    let codec = RowCodec::Nvfp4 {
        width,
        scale_bits: 0,
    };
    let row = [[0xFF; 32].as_slice(), &[0, 0, 0x7F, 0]].concat();
    assert_eq!(codec.find_nan(&row), Some(NanPlace::Scale(2)));
}

#[test]
fn rows_of_parts_of_blocks_are_refused() {
    let scale = ScaleType::F16;
    for codec in [
        RowCodec::Q8_0 { width: 80 },
        RowCodec::Q4_0 { width: 48 },
        RowCodec::Iq4Nl { width: 1 },
        RowCodec::Mxfp4Gguf { width: 16 },
        RowCodec::Nvfp4Gguf {
            width: 160,
            scale_bits: 0,
        },
        RowCodec::Nvfp4 {
            width: 24,
            scale_bits: 0,
        },
        RowCodec::Nvfp4 {
            width: 32,
            scale_bits: f32::INFINITY.to_bits(),
        },
        RowCodec::Mxfp4 { width: 80 },
        RowCodec::Q4K { width: 160 },
        RowCodec::Q5K { width: 128 },
        RowCodec::Int4 {
            width: 32,
            group: 8,
            scale,
        },
        RowCodec::Int4 {
            width: 32,
            group: 0,
            scale,
        },
        RowCodec::Int8 {
            width: 32,
            group: 5,
            scale,
        },
        RowCodec::Fp8Grouped {
            width: 32,
            group: 0,
            scale,
        },
    ] {
        assert!(codec.validate().is_err(), "{codec:?}");
    }
}

#[test]
fn codecs_are_told_in_words() {
    let of = |codec: RowCodec| codec.to_string();
    assert_eq!(of(RowCodec::Bf16 { width: 8 }), "8 values in BF16");
    let (width, scale_bits) = (32, 0.25_f32.to_bits());
    assert_eq!(
        of(RowCodec::Fp8Ue8m0 { width, group: 16 }),
        "32 values in FP8 (E4M3) with a scale in UE8M0 for every 16"
    );
    assert_eq!(
        of(RowCodec::Nvfp4 { width, scale_bits }),
        "32 values in NVFP4 with the scale 0.25 for the whole table"
    );
    let (group, scale) = (width, ScaleType::F16);
    assert_eq!(
        of(RowCodec::Int4 {
            width,
            group,
            scale
        }),
        "32 values in INT4 with a scale in F16 for the row"
    );
}

#[test]
fn names_are_those_of_manifests() {
    let (width, group, scale, scale_bits) = (256, 32, ScaleType::F32, 0);
    for codec in [
        RowCodec::F32 { width },
        RowCodec::F16 { width },
        RowCodec::Bf16 { width },
        RowCodec::Fp8Ue8m0 { width, group },
        RowCodec::Fp8Scaled { width, scale_bits },
        RowCodec::Fp8 { width },
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
        RowCodec::Int4 {
            width,
            group,
            scale,
        },
        RowCodec::Nvfp4 { width, scale_bits },
        RowCodec::Mxfp4 { width },
        RowCodec::Q8_0 { width },
        RowCodec::Q4_0 { width },
        RowCodec::Iq4Nl { width },
        RowCodec::Mxfp4Gguf { width },
        RowCodec::Nvfp4Gguf { width, scale_bits },
        RowCodec::Q4K { width },
        RowCodec::Q5K { width },
    ] {
        assert_eq!(serde_json::to_value(codec).unwrap()["name"], codec.name());
    }
}
