//! The generator splitmix64 (Steele, Lea and Flood, 2014).

/// 2^64 divided by the golden ratio, the step of the state.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output at `index`, from 0, of the generator seeded with `seed`.
pub(super) fn output(seed: u64, index: u64) -> u64 {
    let state = seed.wrapping_add(GOLDEN_GAMMA.wrapping_mul(index.wrapping_add(1)));
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outputs_are_those_of_the_reference() {
        // The first outputs of Vigna's splitmix64.c from the state 1234567.
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!([0, 1, 2].map(|index| output(1_234_567, index)), expected);
    }
}
