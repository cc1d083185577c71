//! Two registers of eight values.

use std::arch::x86_64::{
    __m128i, __m256, _mm_and_si128, _mm_cvtsi64_si128, _mm_set1_epi8, _mm_srli_epi16,
    _mm_srli_si128, _mm_unpacklo_epi8, _mm_unpacklo_epi64, _mm256_blendv_ps, _mm256_castsi256_ps,
    _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_mul_ps,
    _mm256_permutevar8x32_ps, _mm256_set1_ps, _mm256_slli_epi32, _mm256_sub_ps,
};

use bytemuck::{cast, pod_read_unaligned};

use crate::codec::{
    encode,
    interface::{Codec, each_row},
    lanes::{LANES, Simd},
};
use crate::error::EncodeError;

/// Shows that the processor has AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    #[inline]
    pub(super) fn decode_rows<C: Codec, T>(
        self,
        codec: C,
        rows: &[u8],
        out: &mut [T],
        round: impl Fn(f32) -> T + Copy,
    ) {
        // SAFETY: this value shows that the processor has AVX2.
        unsafe { decode_rows(self, codec, rows, out, round) }
    }
}

/// As [`encode::each_row`], by a processor that has AVX2.
#[inline]
pub(super) fn encode_rows<C: Codec>(
    _avx2: Avx2,
    codec: C,
    values: &[f32],
    rows: &mut [u8],
) -> Result<(), EncodeError> {
    #[target_feature(enable = "avx2")]
    fn by_avx2<C: Codec>(codec: C, values: &[f32], rows: &mut [u8]) -> Result<(), EncodeError> {
        encode::each_row(codec, values, rows)
    }
    // SAFETY: `Avx2` shows that the processor has it.
    unsafe { by_avx2(codec, values, rows) }
}

#[target_feature(enable = "avx2")]
fn decode_rows<C: Codec, T>(
    avx2: Avx2,
    codec: C,
    rows: &[u8],
    out: &mut [T],
    round: impl Fn(f32) -> T + Copy,
) {
    each_row(codec, avx2, rows, out, round);
}

/// The low and the high nibbles of each byte.
#[target_feature(enable = "avx2")]
#[inline]
fn nibbles(bytes: __m128i) -> [__m128i; 2] {
    let mask = _mm_set1_epi8(0xF);
    [
        _mm_and_si128(bytes, mask),
        _mm_and_si128(_mm_srli_epi16::<4>(bytes), mask),
    ]
}

#[target_feature(enable = "avx2")]
#[inline]
fn eight_nibbles(bytes: [u8; LANES / 2]) -> [__m128i; 2] {
    nibbles(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn look_up(table: &[f32; LANES], codes: __m128i) -> [__m256; 2] {
    let [low, high]: [__m256; 2] = pod_read_unaligned(bytemuck::bytes_of(table));
    [codes, _mm_srli_si128::<8>(codes)].map(|codes| {
        let codes = _mm256_cvtepu8_epi32(codes);
        // A permutation looks at three bits; the fourth chooses the half of the table.
        let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes));
        let low = _mm256_permutevar8x32_ps(low, codes);
        let high = _mm256_permutevar8x32_ps(high, codes);
        _mm256_blendv_ps(low, high, upper)
    })
}

#[target_feature(enable = "avx2")]
#[inline]
fn integers(bytes: &[u8; LANES]) -> [__m256; 2] {
    let bytes: __m128i = pod_read_unaligned(bytes);
    [bytes, _mm_srli_si128::<8>(bytes)].map(|bytes| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn times(values: [__m256; 2], factor: f32) -> [__m256; 2] {
    values.map(|values| _mm256_mul_ps(values, _mm256_set1_ps(factor)))
}

#[target_feature(enable = "avx2")]
#[inline]
fn minus(values: [__m256; 2], subtrahend: f32) -> [__m256; 2] {
    values.map(|values| _mm256_sub_ps(values, _mm256_set1_ps(subtrahend)))
}

impl Simd for Avx2 {
    type Codes = __m128i;
    type Values = [__m256; 2];

    #[inline(always)]
    fn low_nibbles(self, bytes: &[u8; LANES]) -> Self::Codes {
        // SAFETY: `self` shows that the processor has AVX2, here and below.
        unsafe { nibbles(pod_read_unaligned(bytes))[0] }
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: &[u8; LANES]) -> Self::Codes {
        // SAFETY: as above.
        unsafe { nibbles(pod_read_unaligned(bytes))[1] }
    }

    #[inline(always)]
    fn nibble_pairs(self, bytes: [u8; LANES / 2]) -> Self::Codes {
        // SAFETY: as above.
        unsafe {
            let [low, high] = eight_nibbles(bytes);
            _mm_unpacklo_epi8(low, high)
        }
    }

    #[inline(always)]
    fn nibble_halves(self, bytes: [u8; LANES / 2]) -> Self::Codes {
        // SAFETY: as above.
        unsafe {
            let [low, high] = eight_nibbles(bytes);
            _mm_unpacklo_epi64(low, high)
        }
    }

    #[inline(always)]
    fn look_up(self, table: &[f32; LANES], codes: Self::Codes) -> Self::Values {
        // SAFETY: as above.
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
