//! FP8 codes, read as PyTorch reads `float8_e4m3fn` and `float8_e8m0fnu`.

use super::{
    interface::{NanPlace, nan_value},
    magnitude::whole,
};

/// E4M3 without infinities: sign, four exponent bits of bias 7, three mantissa bits.
#[inline(always)]
pub(super) fn e4m3(code: u8) -> f32 {
    let magnitude = u32::from(code & 0x7F);
    let value = match magnitude {
        // Subnormal: a multiple of 2^-9.
        0..8 => f32::from(code & 0x7F) * (1.0 / 512.0),
        0x7F => f32::NAN,
        _ => f32::from_bits((magnitude << 20) + (120 << 23)),
    };
    f32::from_bits(value.to_bits() | u32::from(code & 0x80) << 24)
}

/// E4M3 as GGML reads it in scales: without a sign, and code 7F is zero.
#[inline(always)]
pub(super) fn ue4m3(code: u8) -> f32 {
    if code == 0x7F {
        return 0.0;
    }
    // Code FF, which GGML does not except, is what would follow 448.
    match code & 0x7F {
        0x7F => 480.0,
        code => e4m3(code),
    }
}

/// The first E4M3 code that is not a number.
pub(super) fn nan_e4m3(codes: &[u8]) -> Option<NanPlace> {
    nan_value(codes, |[code]| code & 0x7F == 0x7F)
}

/// The one UE8M0 code that is not a number.
pub(super) const UE8M0_NAN: u8 = 0xFF;

/// UE8M0: a power of two of bias 127.
#[inline(always)]
pub(super) fn ue8m0(code: u8) -> f32 {
    match code {
        // 2^-127 is subnormal.
        0 => f32::from_bits(1 << 22),
        UE8M0_NAN => f32::NAN,
        _ => f32::from_bits(u32::from(code) << 23),
    }
}

/// The first UE8M0 code that is not a number.
pub(super) fn nan_ue8m0(codes: &[u8]) -> Option<NanPlace> {
    let index = codes.iter().position(|&code| code == UE8M0_NAN);
    index.map(NanPlace::Scale)
}

/// The largest E4M3 value.
pub(super) const E4M3_MOST: f32 = 448.0;
/// The largest magnitude that is rounded to [`E4M3_MOST`], and not beyond.
pub(super) const E4M3_ROUNDS_TO_MOST: f32 = 464.0;

/// The nearest E4M3 code, ties to even; magnitudes above 448 become 448.
#[inline(always)]
pub(super) fn to_e4m3(value: f32) -> u8 {
    const LEAST_NORMAL: f32 = 1.0 / 64.0;
    // The last digit of numbers from here on is 2^-9, as that of subnormal codes.
    const SUBNORMAL: f32 = 16_384.0;
    let magnitude = value.abs().min(E4M3_MOST);
    let code = if magnitude < LEAST_NORMAL {
        (magnitude + SUBNORMAL).to_bits() - SUBNORMAL.to_bits()
    } else {
        let bits = magnitude.to_bits();
        let tie = 0x7_FFFF + (bits >> 20 & 1);
        ((bits + tie) >> 20) - (120 << 3)
    };
    let [code, ..] = (code | value.to_bits() >> 24 & 0x80).to_le_bytes();
    code
}

/// The E4M3 code that GGML chooses for a scale from 0 to 448: ties go up, and all from 248 on become 448.
#[inline(always)]
pub(super) fn to_ue4m3(scale: f32) -> u8 {
    const LEAST_NORMAL: f32 = 1.0 / 64.0;
    let code = if scale < LEAST_NORMAL {
        // GGML never rounds these up to what is normal.
        return whole((scale * 512.0 + 0.5).trunc().min(7.0));
    } else {
        ((scale.to_bits() + (1 << 19)) >> 20) - (120 << 3)
    };
    let [code, ..] = code.min(0x7E).to_le_bytes();
    if code >= 0x78 { 0x7E } else { code }
}

/// The UE8M0 code of the power of two that brings `largest` to between 2^`exponent` and twice that.
#[inline(always)]
pub(super) fn exponent_code(largest: f32, exponent: u32) -> u8 {
    // Subnormal numbers are below every scale.
    let [code, ..] = (largest.to_bits() >> 23)
        .saturating_sub(exponent)
        .to_le_bytes();
    code
}

/// The UE8M0 code of the least power of two that is `scale` or more.
#[inline(always)]
pub(super) fn ue8m0_above(scale: f32) -> u8 {
    const LEAST: f32 = f32::from_bits(1 << 22);
    if scale <= LEAST {
        return 0;
    }
    // A fraction, however small, takes the next power.
    let [code, ..] = ((scale.to_bits() + 0x7F_FFFF) >> 23).to_le_bytes();
    code
}
