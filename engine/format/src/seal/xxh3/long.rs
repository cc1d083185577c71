//! XXH3-64 of more than 240 bytes (Yann Collet, "xxHash fast digest algorithm", XXH3), by registers of any width.

use bytemuck::cast;

/// Shorter inputs have another algorithm.
pub(super) const SHORTEST: usize = 241;
pub(super) const STRIPE: usize = 64;
pub(super) type Stripe = [u8; STRIPE];
pub(super) const BLOCK_STRIPES: usize = 16;

/// The specification's default secret.
#[rustfmt::skip]
const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];
/// The secret of each stripe of a block, of the last stripe and of a block's end.
pub(super) const KEYS: [Stripe; BLOCK_STRIPES] = {
    let mut keys = [[0; STRIPE]; BLOCK_STRIPES];
    let mut stripe = 0;
    while stripe < BLOCK_STRIPES {
        keys[stripe] = key(8 * stripe);
        stripe += 1;
    }
    keys
};
pub(super) const LAST_KEY: Stripe = key(SECRET.len() - STRIPE - 7);
pub(super) const BLOCK_KEY: Stripe = key(SECRET.len() - STRIPE);
const MERGE_KEY: Stripe = key(11);

const fn key(at: usize) -> Stripe {
    let (_, key) = SECRET.split_at(at);
    match key.first_chunk() {
        Some(key) => *key,
        None => panic!("the secret is long enough"),
    }
}

pub(super) const PRIME32: u64 = 0x9E37_79B1;
const PRIME64: u64 = 0x9E37_79B1_85EB_CA87;
pub(super) const START: [u64; 8] = [
    0xC2B2_AE3D,
    PRIME64,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x85EB_CA77,
    0x27D4_EB2F_1656_67C5,
    PRIME32,
];

/// Defines `hash` and `copy_and_hash` for processors that have `$feature`, in a module with a type `Sums` of eight
/// words and the functions `added` and `scrambled` on them.
///
/// A macro, since what is compiled for a feature can only call what is compiled for the same one.
macro_rules! long_hash {
    ($feature:tt) => {
        /// Whether `bytes` are long enough and the processor has the registers.
        #[inline]
        fn suits(bytes: &[u8]) -> bool {
            bytes.len() >= SHORTEST && is_x86_feature_detected!($feature)
        }

        /// The hash of `bytes`, where this suits them.
        #[inline]
        pub(in super::super) fn hash(bytes: &[u8]) -> Option<u64> {
            // SAFETY: the processor has the feature.
            suits(bytes).then(|| unsafe { long(bytes) })
        }

        /// [`hash`] of `bytes`, which are copied to `out`.
        ///
        /// # Panics
        /// If `out` is of another length.
        #[inline]
        pub(in super::super) fn copy_and_hash(bytes: &[u8], out: &mut [u8]) -> Option<u64> {
            // SAFETY: the processor has the feature.
            suits(bytes).then(|| unsafe { long_copied(bytes, out) })
        }

        #[target_feature(enable = $feature)]
        fn long(bytes: &[u8]) -> u64 {
            by_length::<false>(bytes, &mut [])
        }

        #[target_feature(enable = $feature)]
        fn long_copied(bytes: &[u8], out: &mut [u8]) -> u64 {
            assert_eq!(
                bytes.len(),
                out.len(),
                "the length of a row and of its copy"
            );
            by_length::<true>(bytes, out)
        }

        /// The hash of `bytes`, which go to `out` as they are read if `COPY`.
        #[target_feature(enable = $feature)]
        #[inline]
        fn by_length<const COPY: bool>(bytes: &[u8], out: &mut [u8]) -> u64 {
            match stripes_before_last(bytes) {
                3 => short::<3, COPY>(bytes, out),
                4 => short::<4, COPY>(bytes, out),
                5 => short::<5, COPY>(bytes, out),
                6 => short::<6, COPY>(bytes, out),
                7 => short::<7, COPY>(bytes, out),
                8 => short::<8, COPY>(bytes, out),
                _ => stripes::<COPY>(bytes, out),
            }
        }

        /// [`by_length`] of bytes that have `STRIPES` stripes before the last one and do not end a block. Without loops
        /// and looks at the length, a row of 264 bytes takes three quarters of the time.
        #[target_feature(enable = $feature)]
        #[inline]
        fn short<const STRIPES: usize, const COPY: bool>(bytes: &[u8], out: &mut [u8]) -> u64 {
            let whole: &[Stripe; STRIPES] = bytes.as_chunks().0.first_chunk().expect("its stripes");
            let last: &Stripe = bytes.last_chunk().expect("more than a stripe");
            if COPY {
                *out.as_chunks_mut().0.first_chunk_mut().expect("as long") = *whole;
                *out.last_chunk_mut().expect("as long") = *last;
            }
            let mut sums = cast(START);
            for (stripe, key) in whole.iter().zip(&KEYS) {
                sums = added(sums, pod_read_unaligned(stripe), pod_read_unaligned(key));
            }
            sums = added(
                sums,
                pod_read_unaligned(last),
                pod_read_unaligned(&LAST_KEY),
            );
            merge(cast(sums), bytes.len() as u64)
        }

        /// [`by_length`] of any number of stripes.
        #[target_feature(enable = $feature)]
        #[inline]
        fn stripes<const COPY: bool>(bytes: &[u8], out: &mut [u8]) -> u64 {
            let mut sums = cast(START);
            let mut copies = out.as_chunks_mut().0.iter_mut();
            let add = |sums, stripe: &Stripe, key: &Stripe, copy: Option<&mut Stripe>| {
                if COPY && let Some(copy) = copy {
                    *copy = *stripe;
                }
                added(sums, pod_read_unaligned(stripe), pod_read_unaligned(key))
            };
            let (whole, _) = bytes[..bytes.len() - 1].as_chunks();
            for block in whole.chunks(BLOCK_STRIPES) {
                for (stripe, key) in block.iter().zip(&KEYS) {
                    sums = add(sums, stripe, key, copies.next());
                }
                if block.len() == BLOCK_STRIPES {
                    sums = scrambled(sums);
                }
            }
            let last = bytes.last_chunk().expect("more than a stripe");
            sums = add(sums, last, &LAST_KEY, out.last_chunk_mut());
            merge(cast(sums), bytes.len() as u64)
        }
    };
}
pub(super) use long_hash;

/// Whole stripes of `bytes` before the last one, which may overlap the one before it and is always there.
#[inline]
pub(super) fn stripes_before_last(bytes: &[u8]) -> usize {
    (bytes.len() - 1) / STRIPE
}

#[inline]
pub(super) fn merge(sums: [u64; 8], length: u64) -> u64 {
    let keys: [[[u8; 8]; 2]; 4] = cast(MERGE_KEY);
    let pairs: [[u64; 2]; 4] = cast(sums);
    let start = length.wrapping_mul(PRIME64);
    let hash = pairs
        .into_iter()
        .zip(keys)
        .fold(start, |hash, (sums, keys)| {
            let [first, second] = [0, 1].map(|at| sums[at] ^ u64::from_le_bytes(keys[at]));
            let product = u128::from(first) * u128::from(second);
            let [low, high]: [u64; 2] = cast(product);
            hash.wrapping_add(low ^ high)
        });
    let hash = (hash ^ (hash >> 37)).wrapping_mul(0x1656_6791_9E37_79F9);
    hash ^ (hash >> 32)
}
