//! FP8 codes, read as PyTorch reads `float8_e4m3fn` and `float8_e8m0fnu`.

use super::interface::{NanPlace, nan_value};

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
