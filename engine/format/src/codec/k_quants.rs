//! What GGML's `Q4_K` and `Q5_K` share: blocks of 256 values in eight groups, each with a scale and a minimum of six
//! bits under the two scales of the block.

use half::f16;

/// Values of a block.
pub(super) const BLOCK_VALUES: u32 = 256;
/// Bytes of the two scales of a block and the scales and minima of its groups.
pub(super) const HEAD_BYTES: usize = 16;

/// What the codes of each group of a block are multiplied by, and what is taken from the products.
#[inline(always)]
pub(super) fn scales(head: &[u8; HEAD_BYTES]) -> [[f32; 8]; 2] {
    let &[a, b, c, d, ref packed @ ..] = head;
    let [scale, min] = [[a, b], [c, d]].map(|bits| f16::from_le_bytes(bits).to_f32());
    let words = packed.as_chunks().0;
    let [low, high, four_bits] = std::array::from_fn(|at| u32::from_le_bytes(words[at]));
    // Four groups at a time, a byte each. The first four have their six bits in a byte; the others have four bits in a
    // byte and two above those six.
    let six = |bits: u32| bits & 0x3F3F_3F3F;
    let four_and_two = |four: u32, two: u32| four & 0x0F0F_0F0F | (two >> 6 & 0x0303_0303) << 4;
    let scales = [six(low), four_and_two(four_bits, low)];
    let mins = [six(high), four_and_two(four_bits >> 4, high)];
    [(scale, scales), (min, mins)].map(|(factor, bits)| {
        let bits = bits.map(u32::to_le_bytes);
        std::array::from_fn(|group| factor * f32::from(bits.as_flattened()[group]))
    })
}
