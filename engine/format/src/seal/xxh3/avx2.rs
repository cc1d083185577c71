//! XXH3-64 in registers of 256 bits.

use std::{
    arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_mul_epu32, _mm256_set1_epi64x, _mm256_shuffle_epi32,
        _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
    },
    array,
};

use bytemuck::{cast, pod_read_unaligned};

use super::long::{
    BLOCK_KEY, BLOCK_STRIPES, KEYS, LAST_KEY, PRIME32, SHORTEST, START, Stripe, long_hash, merge,
    stripes_before_last,
};

long_hash!("avx2");

type Sums = [__m256i; 2];

#[target_feature(enable = "avx2")]
#[inline]
fn added(sums: Sums, stripe: Sums, key: Sums) -> Sums {
    array::from_fn(|half| {
        let keyed = _mm256_xor_si256(stripe[half], key[half]);
        let product = _mm256_mul_epu32(keyed, _mm256_srli_epi64::<32>(keyed));
        // Each word goes to its neighbour's sum.
        let swapped = _mm256_shuffle_epi32::<0b01_00_11_10>(stripe[half]);
        _mm256_add_epi64(sums[half], _mm256_add_epi64(product, swapped))
    })
}

#[target_feature(enable = "avx2")]
#[inline]
fn scrambled(sums: Sums) -> Sums {
    let prime = _mm256_set1_epi64x(PRIME32.cast_signed());
    let key: Sums = pod_read_unaligned(&BLOCK_KEY);
    array::from_fn(|half| {
        let sum = sums[half];
        let shifted = _mm256_xor_si256(sum, _mm256_srli_epi64::<47>(sum));
        let keyed = _mm256_xor_si256(shifted, key[half]);
        let low = _mm256_mul_epu32(keyed, prime);
        let high = _mm256_mul_epu32(_mm256_srli_epi64::<32>(keyed), prime);
        _mm256_add_epi64(low, _mm256_slli_epi64::<32>(high))
    })
}
