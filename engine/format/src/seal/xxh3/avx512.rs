//! XXH3-64 in registers of 512 bits: half the instructions, so that more rows fit into what the processor looks ahead.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_mul_epu32, _mm512_set1_epi64, _mm512_shuffle_epi32,
    _mm512_slli_epi64, _mm512_srli_epi64, _mm512_xor_si512,
};

use bytemuck::{cast, pod_read_unaligned};

use super::long::{
    BLOCK_KEY, BLOCK_STRIPES, KEYS, LAST_KEY, PRIME32, SHORTEST, START, Stripe, long_hash, merge,
    stripes_before_last,
};

long_hash!("avx512f");

type Sums = __m512i;

#[target_feature(enable = "avx512f")]
#[inline]
fn added(sums: Sums, stripe: Sums, key: Sums) -> Sums {
    let keyed = _mm512_xor_si512(stripe, key);
    let product = _mm512_mul_epu32(keyed, _mm512_srli_epi64::<32>(keyed));
    // Each word goes to its neighbour's sum.
    let swapped = _mm512_shuffle_epi32::<0b01_00_11_10>(stripe);
    _mm512_add_epi64(sums, _mm512_add_epi64(product, swapped))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn scrambled(sums: Sums) -> Sums {
    let prime = _mm512_set1_epi64(PRIME32.cast_signed());
    let shifted = _mm512_xor_si512(sums, _mm512_srli_epi64::<47>(sums));
    let keyed = _mm512_xor_si512(shifted, pod_read_unaligned(&BLOCK_KEY));
    let low = _mm512_mul_epu32(keyed, prime);
    let high = _mm512_mul_epu32(_mm512_srli_epi64::<32>(keyed), prime);
    _mm512_add_epi64(low, _mm512_slli_epi64::<32>(high))
}
