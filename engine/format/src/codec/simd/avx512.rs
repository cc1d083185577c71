//! One register of sixteen values.

use std::arch::x86_64::{
    __m128i, __m512, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_mul_ps,
    _mm512_permutexvar_ps, _mm512_set1_ps, _mm512_sub_ps,
};

use bytemuck::{cast, pod_read_unaligned};

use super::avx2::Avx2;
use crate::codec::{
    interface::{Codec, each_row},
    lanes::{LANES, Simd},
};

/// Shows that the processor has AVX2 and the foundation of AVX-512.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(Avx2);

impl Avx512 {
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        if is_x86_feature_detected!("avx512f") {
            Avx2::detect().map(Self)
        } else {
            None
        }
    }

    #[inline]
    pub(super) fn decode_rows<C: Codec, T>(
        self,
        codec: C,
        rows: &[u8],
        out: &mut [T],
        round: impl Fn(f32) -> T + Copy,
    ) {
        // SAFETY: this value shows that the processor has both.
        unsafe { decode_rows(self, codec, rows, out, round) }
    }
}

#[target_feature(enable = "avx2,avx512f")]
fn decode_rows<C: Codec, T>(
    avx512: Avx512,
    codec: C,
    rows: &[u8],
    out: &mut [T],
    round: impl Fn(f32) -> T + Copy,
) {
    each_row(codec, avx512, rows, out, round);
}

#[target_feature(enable = "avx512f")]
#[inline]
fn look_up(table: &[f32; LANES], codes: __m128i) -> __m512 {
    let table = pod_read_unaligned(bytemuck::bytes_of(table));
    _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(codes), table)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn integers(bytes: &[u8; LANES]) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(pod_read_unaligned(bytes)))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn times(values: __m512, factor: f32) -> __m512 {
    _mm512_mul_ps(values, _mm512_set1_ps(factor))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn minus(values: __m512, subtrahend: f32) -> __m512 {
    _mm512_sub_ps(values, _mm512_set1_ps(subtrahend))
}

impl Simd for Avx512 {
    type Codes = __m128i;
    type Values = __m512;

    #[inline(always)]
    fn low_nibbles(self, bytes: &[u8; LANES]) -> Self::Codes {
        self.0.low_nibbles(bytes)
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: &[u8; LANES]) -> Self::Codes {
        self.0.high_nibbles(bytes)
    }

    #[inline(always)]
    fn nibble_pairs(self, bytes: [u8; LANES / 2]) -> Self::Codes {
        self.0.nibble_pairs(bytes)
    }

    #[inline(always)]
    fn nibble_halves(self, bytes: [u8; LANES / 2]) -> Self::Codes {
        self.0.nibble_halves(bytes)
    }

    #[inline(always)]
    fn look_up(self, table: &[f32; LANES], codes: Self::Codes) -> Self::Values {
        // SAFETY: `self` shows that the processor has AVX-512, here and below.
        unsafe { look_up(table, codes) }
    }

    #[inline(always)]
    fn integers(self, bytes: &[u8; LANES]) -> Self::Values {
        // SAFETY: as above.
        unsafe { integers(bytes) }
    }

    #[inline(always)]
    fn times(self, values: Self::Values, factor: f32) -> Self::Values {
        // SAFETY: as above.
        unsafe { times(values, factor) }
    }

    #[inline(always)]
    fn minus(self, values: Self::Values, subtrahend: f32) -> Self::Values {
        // SAFETY: as above.
        unsafe { minus(values, subtrahend) }
    }

    #[inline(always)]
    fn to_array(self, values: Self::Values) -> [f32; LANES] {
        cast(values)
    }
}
