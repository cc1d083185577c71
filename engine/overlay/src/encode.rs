//! Values to rows.

use engram::{RowCodec, bf16, f16};

use crate::error::EditError;

/// The largest value of FP8 E4M3.
const E4M3_MAX: f64 = 448.0;
/// Its smallest normal value.
const SMALLEST_NORMAL: f64 = 1.0 / 64.0;
/// Code of the scale 1 in UE8M0.
const SCALE_BIAS: i32 = 127;
/// Code of its largest scale.
const MAX_SCALE: u8 = 254;

/// Encodes whole rows of `values`, each rounded to the nearest value that its codec has, ties to even.
///
/// # Errors
/// A value that is not finite or becomes infinite, or a codec without an encoder.
pub(crate) fn encode(codec: RowCodec, values: &[f32]) -> Result<Vec<u8>, EditError> {
    let is_held = |value: &f32| match codec {
        RowCodec::F16 { .. } => f16::from_f32(*value).is_finite(),
        RowCodec::Bf16 { .. } => bf16::from_f32(*value).is_finite(),
        _ => value.is_finite(),
    };
    if let Some(index) = values.iter().position(|value| !is_held(value)) {
        return Err(EditError::Value {
            index,
            value: values[index],
            codec: codec.name(),
        });
    }
    let values = values.iter().copied();
    Ok(match codec {
        RowCodec::F32 { .. } => values.flat_map(f32::to_le_bytes).collect(),
        RowCodec::F16 { .. } => values
            .flat_map(|value| f16::from_f32(value).to_le_bytes())
            .collect(),
        RowCodec::Bf16 { .. } => values
            .flat_map(|value| bf16::from_f32(value).to_le_bytes())
            .collect(),
        RowCodec::Fp8Ue8m0 { width, group } => {
            let values: Vec<f32> = values.collect();
            let rows = values.chunks_exact(width as usize);
            rows.flat_map(|row| fp8_ue8m0(row, group as usize))
                .collect()
        }
        _ => return Err(EditError::NoEncoder { codec }),
    })
}

/// A row of FP8 values, then the scale of each `group`: the smallest power of two under which its values fit.
fn fp8_ue8m0(row: &[f32], group: usize) -> Vec<u8> {
    let (mut codes, mut scales) = (Vec::with_capacity(row.len()), Vec::new());
    for values in row.chunks_exact(group) {
        let sizes = values.iter().map(|value| f64::from(value.abs()));
        let largest = sizes.fold(0.0, f64::max);
        let mut code = 0_u8;
        // In f64, since a scale may be subnormal in f32.
        let scale_of = |code: u8| f64::from(i32::from(code) - SCALE_BIAS).exp2();
        while code < MAX_SCALE && largest > E4M3_MAX * scale_of(code) {
            code += 1;
        }
        let scale = scale_of(code);
        codes.extend(values.iter().map(|&value| e4m3(f64::from(value) / scale)));
        scales.push(code);
    }
    codes.extend(scales);
    codes
}

/// The code of the value nearest to `value`, which is 448 at most apart from rounding.
fn e4m3(value: f64) -> u8 {
    let sign = u8::from(value.is_sign_negative()) << 7;
    let size = value.abs().min(E4M3_MAX);
    // Codes without their sign are in the order of their values: eight of each power of two, one after another. Below the
    // smallest normal power, the same steps go on down to zero.
    let (mut power, mut first) = (SMALLEST_NORMAL, 0);
    while size >= 2.0 * power {
        power *= 2.0;
        first += 8;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 16, where the next power begins"
    )]
    let steps = (size / power * 8.0).round_ties_even() as u8;
    sign | (first + steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All codes of a byte but those of NaN.
    fn codes() -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|code| code & 0x7F != 0x7F)
    }

    #[test]
    fn values_of_fp8_rows_come_back_to_the_bit() {
        let codec = RowCodec::Fp8Ue8m0 {
            width: 254,
            group: 127,
        };
        for scale in [0, 1, 9, 100, 127, 200, 246] {
            let mut row: Vec<u8> = codes().collect();
            row.extend([scale, scale]);
            let mut values = vec![0.0; 254];
            codec.decode_f32(&row, &mut values);
            let mut again = vec![0.0; 254];
            codec.decode_f32(&encode(codec, &values).unwrap(), &mut again);
            assert!(
                values
                    .iter()
                    .zip(&again)
                    .all(|(a, b)| a.to_bits() == b.to_bits()),
                "scale {scale}"
            );
        }
    }

    #[test]
    fn other_values_become_the_nearest_of_their_group() {
        let codec = RowCodec::Fp8Ue8m0 { width: 2, group: 2 };
        let mut all = vec![0.0_f32; 254];
        let every = RowCodec::Fp8 { width: 254 };
        every.decode_f32(&codes().collect::<Vec<u8>>(), &mut all);
        let mut state = 1_u32;
        for _ in 0..5_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // 448 fixes the scale at 1.
            let value = (f32::from(u16::try_from(state >> 16).unwrap()) - 32_768.0) / 74.0;
            let mut found = [0.0; 2];
            codec.decode_f32(&encode(codec, &[448.0, value]).unwrap(), &mut found);
            let nearest = all.iter().map(|known| (known - value).abs());
            let nearest = nearest.fold(f32::INFINITY, f32::min);
            assert_eq!((found[1] - value).abs(), nearest, "{value}");
        }
    }

    #[test]
    fn plain_values_come_back_and_others_are_refused() {
        let values = [1.5, -0.25, 0.0];
        for codec in [
            RowCodec::F32 { width: 3 },
            RowCodec::F16 { width: 3 },
            RowCodec::Bf16 { width: 3 },
        ] {
            let mut found = [0.0; 3];
            codec.decode_f32(&encode(codec, &values).unwrap(), &mut found);
            assert_eq!(found, values);
            for bad in [f32::NAN, f32::INFINITY] {
                let refused = encode(codec, &[0.0, bad, 0.0]);
                assert!(matches!(refused, Err(EditError::Value { index: 1, .. })));
            }
        }
        let refused = encode(RowCodec::F16 { width: 1 }, &[65_520.0]);
        assert!(matches!(refused, Err(EditError::Value { .. })));
        let refused = encode(RowCodec::Mxfp4 { width: 32 }, &[0.0; 32]);
        assert!(matches!(refused, Err(EditError::NoEncoder { .. })));
    }
}
