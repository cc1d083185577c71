//! Decoding by what the processor has: each codec is written once, over [`Simd`](super::lanes::Simd), and compiled for
//! AVX-512, for AVX2 and for any processor. Encoders are plain loops, compiled for AVX2 and for any processor.

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "code for a processor that is there must be called"
)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "code for a processor that is there must be called"
)]
mod avx512;

use super::{
    encode,
    interface::{Codec, each_row},
    lanes::Portable,
};
use crate::error::EncodeError;

/// Decodes whole rows by the widest registers that the processor has.
pub(super) fn decode_rows<C: Codec, T>(
    codec: C,
    rows: &[u8],
    out: &mut [T],
    round: impl Fn(f32) -> T + Copy,
) {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(avx512) = avx512::Avx512::detect() {
            return avx512.decode_rows(codec, rows, out, round);
        }
        if let Some(avx2) = avx2::Avx2::detect() {
            return avx2.decode_rows(codec, rows, out, round);
        }
    }
    each_row(codec, Portable, rows, out, round);
}

/// Encodes whole rows by AVX2 if the processor has it.
pub(super) fn encode_rows<C: Codec>(
    codec: C,
    values: &[f32],
    rows: &mut [u8],
) -> Result<(), EncodeError> {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = avx2::Avx2::detect() {
        return avx2::encode_rows(avx2, codec, values, rows);
    }
    encode::each_row(codec, values, rows)
}

/// The same rows by every way that this processor has, the portable one first.
#[cfg(test)]
pub(super) fn decode_by_all<C: Codec>(codec: C, rows: &[u8]) -> Vec<(&'static str, Vec<f32>)> {
    let count = rows.len() / codec.plane_bytes().into_iter().sum::<usize>();
    let zeros = || vec![0.0; count * codec.width() as usize];
    let mut portable = zeros();
    each_row(codec, Portable, rows, &mut portable, |value| value);
    let mut all = vec![("portable", portable)];
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(avx2) = avx2::Avx2::detect() {
            let mut out = zeros();
            avx2.decode_rows(codec, rows, &mut out, |value| value);
            all.push(("AVX2", out));
        }
        if let Some(avx512) = avx512::Avx512::detect() {
            let mut out = zeros();
            avx512.decode_rows(codec, rows, &mut out, |value| value);
            all.push(("AVX-512", out));
        }
    }
    all
}
