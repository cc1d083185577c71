//! FP4 codes: sign, two exponent bits of bias 1, one mantissa bit.

use super::lanes::LANES;

/// E2M1 as PyTorch reads `float4_e2m1fn_x2`, with a negative zero.
pub(super) const E2M1: [f32; LANES] = [
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
];

/// Twice E2M1 as GGML reads it, whose integers have one zero. Its scales are half of what they would be.
pub(super) const E2M1_DOUBLED: [f32; LANES] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0,
];

/// The largest E2M1 value.
pub(super) const E2M1_MOST: f32 = 6.0;
/// Exponent of the largest E2M1 value.
pub(super) const E2M1_EXPONENT: u32 = 2;

/// The nearest E2M1 code, ties to even; magnitudes above 6 become 6.
#[inline(always)]
pub(super) fn to_e2m1(value: f32) -> u8 {
    let magnitude = value.abs();
    // A tie goes to the code that is even.
    let code = [0.25, 1.25, 2.5, 5.0].map(|tie| u8::from(magnitude > tie));
    let other = [0.75, 1.75, 3.5].map(|tie| u8::from(magnitude >= tie));
    let code = code.iter().sum::<u8>() + other.iter().sum::<u8>();
    code | u8::from(value.is_sign_negative()) << 3
}

/// The code of the first of [`E2M1_DOUBLED`] that is nearest to `value` under `scale`, as GGML searches it: ties go to
/// zero, and what is stored as zero has no sign.
#[inline(always)]
pub(super) fn to_e2m1_of_ggml(value: f32, scale: f32) -> u8 {
    let magnitude = value.abs();
    // Each is exact, as scales have few digits.
    let code = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0].map(|tie| u8::from(magnitude > tie * scale));
    let code = code.iter().sum::<u8>();
    let sign = u8::from(value < 0.0 && code > 0) << 3;
    if scale > 0.0 { code | sign } else { 0 }
}
