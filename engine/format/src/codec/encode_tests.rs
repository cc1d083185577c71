use proptest::prelude::*;

use super::*;
use crate::error::EncodeError;

const WIDTH: u32 = 256;

/// Codecs of rows of 256, how far a value may be off by the largest of its group, and whether encoding again keeps
/// values: to the bit, but for the last digit of scales in F32.
fn codecs() -> Vec<(RowCodec, f32, bool)> {
    let (width, scale_bits) = (WIDTH, 0.05_f32.to_bits());
    let mut all = vec![
        (RowCodec::F32 { width }, 0.0, true),
        (RowCodec::F16 { width }, 0.000_5, true),
        (RowCodec::Bf16 { width }, 0.004, true),
        (RowCodec::Fp8 { width }, 0.063, true),
        (RowCodec::Fp8Scaled { width, scale_bits }, 0.063, true),
        (RowCodec::Fp8Ue8m0 { width, group: 32 }, 0.063, true),
        (RowCodec::Nvfp4 { width, scale_bits }, 0.24, true),
        (RowCodec::Nvfp4Gguf { width, scale_bits }, 0.24, true),
        (RowCodec::Mxfp4 { width }, 0.26, true),
        (RowCodec::Mxfp4Gguf { width }, 0.26, true),
        (RowCodec::Q8_0 { width }, 0.004_5, true),
        (RowCodec::Q4_0 { width }, 0.127, true),
        (RowCodec::Iq4Nl { width }, 0.2, false),
        (RowCodec::Q4K { width }, 0.12, false),
        (RowCodec::Q5K { width }, 0.06, false),
    ];
    for (scale, same) in [
        (ScaleType::F32, true),
        (ScaleType::F16, true),
        (ScaleType::Bf16, true),
        (ScaleType::Ue8m0, true),
        (ScaleType::E4m3, false),
    ] {
        // Powers of two are up to twice as much.
        let steps = if scale == ScaleType::Ue8m0 { 2.0 } else { 1.15 };
        let group = 32;
        let int8 = RowCodec::Int8 {
            width,
            group,
            scale,
        };
        all.push((int8, steps / 254.0, same));
        let int4 = RowCodec::Int4 {
            width,
            group,
            scale,
        };
        all.push((int4, steps / 14.0, same));
        let fp8 = RowCodec::Fp8Grouped {
            width,
            group,
            scale,
        };
        all.push((fp8, 0.066, same));
    }
    all
}

/// Values that share a scale.
fn group_of(codec: RowCodec) -> usize {
    match codec {
        RowCodec::Nvfp4 { .. } | RowCodec::Nvfp4Gguf { .. } => 16,
        RowCodec::Q4K { .. } | RowCodec::Q5K { .. } => 256,
        _ => 32,
    }
}

/// Encodes and decodes one row.
fn there_and_back(codec: RowCodec, values: &[f32]) -> Vec<f32> {
    let mut row = vec![0; codec.row_bytes()];
    codec.encode(values, &mut row).unwrap();
    assert_eq!(codec.find_nan(&row), None, "{codec:?}");
    let mut back = vec![0.0; values.len()];
    codec.decode_f32(&row, &mut back);
    back
}

fn row_of_groups() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![8 => -1.0_f32..1.0, 1 => Just(0.0), 1 => Just(-0.5)];
    let group = (proptest::collection::vec(value, 16), -3..4_i32)
        .prop_map(|(values, power)| values.into_iter().map(move |v| v * 2.0_f32.powi(power)));
    proptest::collection::vec(group, WIDTH as usize / 16)
        .prop_map(|groups| groups.into_iter().flatten().collect())
}

proptest! {
    #[test]
    fn values_come_back_within_their_formats_bound(values in row_of_groups()) {
        for (codec, bound, _) in codecs() {
            let back = there_and_back(codec, &values);
            let group = group_of(codec);
            for (index, (values, back)) in values.chunks(group).zip(back.chunks(group)).enumerate() {
                let most = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                for (value, back) in values.iter().zip(back) {
                    // Some scales have a least step of their own.
                    prop_assert!(
                        (value - back).abs() <= bound * most + 0.002,
                        "{codec:?}, group {index}: {value} became {back}, the largest is {most}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_was_decoded_is_encoded_to_the_same_values(values in row_of_groups()) {
        for (codec, ..) in codecs().into_iter().filter(|(.., same)| *same) {
            let once = there_and_back(codec, &values);
            let twice = there_and_back(codec, &once);
            for (once, twice) in once.iter().zip(&twice) {
                let last_digit = 2.0 * f32::EPSILON * once.abs();
                let bound = match codec {
                    RowCodec::Int8 { scale: ScaleType::F32, .. }
                    | RowCodec::Int4 { scale: ScaleType::F32, .. }
                    | RowCodec::Fp8Grouped { scale: ScaleType::F32, .. } => last_digit,
                    _ => 0.0,
                };
                prop_assert!((once - twice).abs() <= bound, "{codec:?}: {once}, then {twice}");
            }
        }
    }

    #[test]
    fn all_ways_encode_to_the_same_bytes(values in row_of_groups()) {
        for (codec, ..) in codecs() {
            let (mut chosen, mut portable) = (vec![0; codec.row_bytes()], vec![0; codec.row_bytes()]);
            codec.encode(&values, &mut chosen).unwrap();
            with_codec!(codec, codec => encode::each_row(codec, &values, &mut portable)).unwrap();
            prop_assert!(chosen == portable, "{codec:?}");
        }
    }
}

#[test]
fn what_is_not_finite_is_refused_by_every_codec() {
    for (codec, ..) in codecs() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![0.25; 2 * WIDTH as usize];
            values[WIDTH as usize + 77] = bad;
            let mut rows = vec![0; 2 * codec.row_bytes()];
            match codec.encode(&values, &mut rows) {
                Err(EncodeError::NotFinite {
                    row: 1,
                    value: 77,
                    found,
                }) => {
                    assert_eq!(found.to_bits(), bad.to_bits());
                }
                other => panic!("{codec:?} of {bad}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_is_too_large_is_refused_or_comes_back_finite() {
    let mut refused = 0;
    for (codec, ..) in codecs() {
        for large in [440.0, 470.0, 65_519.0, 65_520.0, 1e9, 1e38, f32::MAX] {
            let mut values = vec![0.25; WIDTH as usize];
            values[200] = -large;
            let mut row = vec![0; codec.row_bytes()];
            match codec.encode(&values, &mut row) {
                Ok(()) => {
                    let mut back = vec![0.0; values.len()];
                    codec.decode_f32(&row, &mut back);
                    let off = (back[200] + large).abs() / large;
                    assert!(off < 0.26, "{codec:?} of {large}: {}", back[200]);
                }
                Err(EncodeError::TooLarge { row, value, found }) => {
                    refused += 1;
                    assert_eq!((row, value, found), (0, 200, -large), "{codec:?}");
                }
                Err(error) => panic!("{codec:?} of {large}: {error}"),
            }
        }
    }
    assert!(refused > 30, "{refused}");
    // Just what is rounded to the largest value is stored.
    let fp8 = RowCodec::Fp8 { width: 1 };
    let mut row = [0];
    fp8.encode(&[-464.0], &mut row).unwrap();
    assert_eq!(row, [0xFE]);
    assert!(fp8.encode(&[464.1], &mut row).is_err());
}

#[test]
fn tables_of_any_size_have_a_scale() {
    let (width, scale_bits) = (64, f32::NAN.to_bits());
    for codec in [
        RowCodec::Fp8Scaled { width, scale_bits },
        RowCodec::Nvfp4 { width, scale_bits },
        RowCodec::Nvfp4Gguf { width, scale_bits },
    ] {
        assert!(codec.table_scale().unwrap().is_nan());
        for largest in [0.0, f32::from_bits(1), 1e-30, 0.02, 448.0, 1e30] {
            let codec = codec.with_table_scale(largest);
            codec.validate().unwrap();
            let mut values = vec![0.0; 64];
            values[3] = largest;
            values[40] = -0.5 * largest;
            let back = there_and_back(codec, &values);
            let off = (back[3] - largest).abs();
            assert!(
                off <= 0.01 * largest || largest < 1e-37,
                "{codec:?} of {largest}: {back:?}"
            );
        }
    }
    let plain = RowCodec::Fp8 { width };
    assert_eq!(
        (plain.table_scale(), plain.with_table_scale(2.0)),
        (None, plain)
    );
    // Without a scale nothing but zero has one.
    let none = RowCodec::Nvfp4 {
        width: 16,
        scale_bits: 0,
    };
    let mut row = [0; 9];
    none.encode(&[0.0; 16], &mut row).unwrap();
    assert!(none.encode(&[1e-9; 16], &mut row).is_err());
}

#[test]
fn a_scale_is_never_zero_beside_values() {
    let codec = RowCodec::Int4 {
        width: 16,
        group: 16,
        scale: ScaleType::E4m3,
    };
    let back = there_and_back(codec, &[0.008; 16]);
    assert!(
        back.iter().all(|value| (value - 0.008).abs() < 0.001),
        "{back:?}"
    );
}
