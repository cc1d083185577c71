//! `NumPy`'s `default_rng(seed).integers(0, bound)` reproduced bit for bit.
//!
//! Engram draws its hash multipliers from this stream, so a reader that differs in one bit fetches
//! other rows. The parts are `SeedSequence` (a 32-bit mixing pool), PCG64 XSL-RR 128/64 (O'Neill,
//! 2014) and Lemire's unbiased bounded integers (2019), as `NumPy` combines them.

const POOL: usize = 4;
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

/// The generator behind `numpy.random.default_rng(seed)`.
pub(crate) struct Pcg64 {
    state: u128,
    increment: u128,
}

impl Pcg64 {
    /// The generator for an integer `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let [w0, w1, w2, w3] = seed_words(seed);
        let mut rng = Self {
            state: 0,
            increment: (join(w2, w3) << 1) | 1,
        };
        rng.step();
        rng.state = rng.state.wrapping_add(join(w0, w1));
        rng.step();
        rng
    }

    fn step(&mut self) {
        self.state = self
            .state
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(self.increment);
    }

    fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = high(self.state) ^ low(self.state);
        // The top six bits of the state choose the rotation.
        let rotation = high(self.state) >> 58;
        folded.rotate_right(low32(rotation))
    }

    /// A uniform integer in `0..bound`.
    ///
    /// `NumPy` takes another path for bounds up to 2^32, so those are not reproduced here.
    ///
    /// # Panics
    /// If `bound - 1` fits 32 bits.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        assert!(
            bound > 1 << 32,
            "NumPy draws bounds up to 2^32 from 32-bit halves"
        );
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if low(product) >= threshold {
                return high(product);
            }
        }
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`.
fn seed_words(seed: u64) -> [u64; 4] {
    let entropy = [low32(seed), low32(seed >> 32), 0, 0];
    let mut hash = 0x43b0_d7e5_u32;
    let mut hashmix = |value: u32| {
        let mixed = value ^ hash;
        hash = hash.wrapping_mul(0x931e_8875);
        let mixed = mixed.wrapping_mul(hash);
        mixed ^ (mixed >> 16)
    };
    let mut pool = entropy.map(&mut hashmix);
    for source in 0..POOL {
        for target in 0..POOL {
            if source != target {
                pool[target] = mix(pool[target], hashmix(pool[source]));
            }
        }
    }

    let mut hash = 0x8b51_f9dd_u32;
    let mut draw = |index: usize| {
        let value = pool[index % POOL] ^ hash;
        hash = hash.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(hash);
        u64::from(value ^ (value >> 16))
    };
    std::array::from_fn(|word| draw(2 * word) | (draw(2 * word + 1) << 32))
}

fn mix(x: u32, y: u32) -> u32 {
    let mixed = x
        .wrapping_mul(0xca01_f9dd)
        .wrapping_sub(y.wrapping_mul(0x4973_f715));
    mixed ^ (mixed >> 16)
}

fn join(high: u64, low: u64) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn low(value: u128) -> u64 {
    value as u64
}

fn high(value: u128) -> u64 {
    (value >> 64) as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
fn low32(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_words_equal_numpy() {
        assert_eq!(
            seed_words(10007),
            [
                0x77d3_2a34_8ad7_0d07,
                0x993e_d609_b84a_4fa5,
                0xd5f9_72de_c869_8e49,
                0x7d79_ebae_bcf1_48de
            ]
        );
        assert_eq!(seed_words(140_098)[3], 0x9f9e_49df_66ff_1c85);
    }

    #[test]
    fn stream_equals_numpy() {
        let mut rng = Pcg64::new(140_098);
        let drawn: [u64; 4] = std::array::from_fn(|_| rng.next_u64());
        assert_eq!(
            drawn,
            [
                0xba3e_cc29_cf07_c111,
                0x8dac_4bbe_1061_0b7c,
                0x550b_7148_777f_f213,
                0xe33b_7455_bc98_449e
            ]
        );
    }
}
