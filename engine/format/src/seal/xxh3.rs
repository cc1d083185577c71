//! XXH3-64, by AVX-512 or AVX2 where the processor has it: the library chooses when it is compiled, and what is
//! compiled for any x86-64 would take twice the time.

use xxhash_rust::xxh3::xxh3_64;

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
#[cfg(target_arch = "x86_64")]
mod long;

/// XXH3-64 of `bytes`.
#[inline]
pub(super) fn hash(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(hash) = avx512::hash(bytes).or_else(|| avx2::hash(bytes)) {
        return hash;
    }
    xxh3_64(bytes)
}

/// XXH3-64 of `bytes`, which are copied to `out`.
///
/// # Panics
/// If `out` is of another length.
#[inline]
pub(super) fn copy_and_hash(bytes: &[u8], out: &mut [u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(hash) = avx512::copy_and_hash(bytes, out) {
        return hash;
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(hash) = avx2::copy_and_hash(bytes, out) {
        return hash;
    }
    out.copy_from_slice(bytes);
    // Not of `out`: what was just written would have to be waited for.
    xxh3_64(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_the_librarys_hash() {
        let all: Vec<u8> = (0..3_500_u32)
            .map(|at| (at.wrapping_mul(0x9E37_79B1) >> 24).to_le_bytes()[0])
            .collect();
        for length in 0..3_400 {
            // Not aligned to anything.
            let bytes = &all[length % 97..length % 97 + length];
            let mut out = vec![0; bytes.len()];
            let expected = xxh3_64(bytes);
            assert_eq!(hash(bytes), expected, "{} bytes", bytes.len());
            assert_eq!(copy_and_hash(bytes, &mut out), expected);
            assert_eq!(out, bytes);
            #[cfg(target_arch = "x86_64")]
            for [hash, copied] in [
                [avx2::hash(bytes), avx2::copy_and_hash(bytes, &mut out)],
                [avx512::hash(bytes), avx512::copy_and_hash(bytes, &mut out)],
            ] {
                // None where it is too short, or the processor has none of it.
                assert!(hash.is_none_or(|hash| hash == expected));
                assert_eq!(copied, hash);
                assert_eq!(out, bytes);
            }
        }
    }

    #[test]
    #[should_panic(expected = "length")]
    fn nothing_is_copied_to_another_length() {
        copy_and_hash(&[1; 300], &mut [0; 299]);
    }
}
