//! Sixteen values at a time: what codecs ask of a processor, and how any processor does it.

/// Values that are made, scaled and stored together.
pub(super) const LANES: usize = 16;

/// What the codecs need of a processor. All ways have the same bits.
pub(super) trait Simd: Copy {
    /// Sixteen codes below 16.
    type Codes: Copy;
    /// Sixteen `f32`.
    type Values: Copy;

    /// The low nibbles of sixteen bytes.
    fn low_nibbles(self, bytes: &[u8; LANES]) -> Self::Codes;

    /// The high nibbles of sixteen bytes.
    fn high_nibbles(self, bytes: &[u8; LANES]) -> Self::Codes;

    /// The nibbles of eight bytes: low and high one of the first, of the second, and so on.
    fn nibble_pairs(self, bytes: [u8; LANES / 2]) -> Self::Codes;

    /// The low nibbles of eight bytes, then their high ones.
    fn nibble_halves(self, bytes: [u8; LANES / 2]) -> Self::Codes;

    /// The entry of `table` that each code names.
    fn look_up(self, table: &[f32; LANES], codes: Self::Codes) -> Self::Values;

    /// Bytes as signed integers.
    fn integers(self, bytes: &[u8; LANES]) -> Self::Values;

    /// Each value times `factor`.
    fn times(self, values: Self::Values, factor: f32) -> Self::Values;

    /// Each value less `subtrahend`.
    fn minus(self, values: Self::Values, subtrahend: f32) -> Self::Values;

    /// The values, in order.
    fn to_array(self, values: Self::Values) -> [f32; LANES];

    /// Puts the values to `out`, each through `round`.
    #[inline(always)]
    fn put<T>(self, values: Self::Values, out: &mut [T; LANES], round: impl Fn(f32) -> T) {
        for (value, out) in self.to_array(values).into_iter().zip(out) {
            *out = round(value);
        }
    }
}

/// What any processor can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type Codes = [u8; LANES];
    type Values = [f32; LANES];

    #[inline(always)]
    fn low_nibbles(self, bytes: &[u8; LANES]) -> Self::Codes {
        bytes.map(|byte| byte & 0xF)
    }

    #[inline(always)]
    fn high_nibbles(self, bytes: &[u8; LANES]) -> Self::Codes {
        bytes.map(|byte| byte >> 4)
    }

    #[inline(always)]
    fn nibble_pairs(self, bytes: [u8; LANES / 2]) -> Self::Codes {
        std::array::from_fn(|at| bytes[at / 2] >> (4 * (at % 2)) & 0xF)
    }

    #[inline(always)]
    fn nibble_halves(self, bytes: [u8; LANES / 2]) -> Self::Codes {
        std::array::from_fn(|at| bytes[at % 8] >> (4 * (at / 8)) & 0xF)
    }

    #[inline(always)]
    fn look_up(self, table: &[f32; LANES], codes: Self::Codes) -> Self::Values {
        codes.map(|code| table[usize::from(code)])
    }

    #[inline(always)]
    fn integers(self, bytes: &[u8; LANES]) -> Self::Values {
        bytes.map(|byte| f32::from(byte.cast_signed()))
    }

    #[inline(always)]
    fn times(self, values: Self::Values, factor: f32) -> Self::Values {
        values.map(|value| value * factor)
    }

    #[inline(always)]
    fn minus(self, values: Self::Values, subtrahend: f32) -> Self::Values {
        values.map(|value| value - subtrahend)
    }

    #[inline(always)]
    fn to_array(self, values: Self::Values) -> [f32; LANES] {
        values
    }
}
