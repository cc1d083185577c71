//! What GGML's `Q4_K` and `Q5_K` share: blocks of 256 values in eight groups, each with a scale and a minimum of six
//! bits under the two scales of the block.

use half::f16;

use super::magnitude::whole;

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

/// Groups of a block.
const GROUPS: usize = 8;
/// Values of a group.
const GROUP_VALUES: usize = 32;
/// Scales and minima of groups have six bits.
const MOST_BITS: f32 = 63.0;

/// One number for each group of a block.
type OfGroups = [f32; GROUPS];

/// The codes of one value of each group.
type Codes = [u8; GROUPS];

/// How GGML searches the scales of a type.
pub(super) struct Search {
    /// The largest code.
    pub(super) most: f32,
    /// The first scale that is tried makes that the largest code and this more.
    pub(super) first: f32,
    /// Scales that are tried, each a tenth of a code after the one before.
    pub(super) tries: u8,
}

/// Writes the scales of a block, and returns the codes of its values, or none if a scale is too large.
///
/// GGML takes one group after another and sums over its values in order. Here the groups lie side by side, so that a
/// vector holds the same sum of all of them.
#[inline(always)]
pub(super) fn encode(
    search: &Search,
    values: &[f32; BLOCK_VALUES as usize],
    head: &mut [u8; HEAD_BYTES],
) -> Option<[Codes; GROUP_VALUES]> {
    let values: [OfGroups; GROUP_VALUES] =
        std::array::from_fn(|at| std::array::from_fn(|group| values[GROUP_VALUES * group + at]));
    let (scales, mins, mut codes) = search.fit(&values);
    let bits = |of: &OfGroups| {
        let most = of.iter().copied().fold(0.0, f32::max);
        let inverse = if most > 0.0 { MOST_BITS / most } else { 0.0 };
        let bits = of.map(|of| whole((inverse * of).clamp(0.0, MOST_BITS)));
        (f16::from_f32(most / MOST_BITS), bits)
    };
    let [(scale, scale_bits), (min, min_bits)] = [bits(&scales), bits(&mins)];
    let (floats, packed) = head.split_at_mut(4);
    floats[..2].copy_from_slice(&scale.to_le_bytes());
    floats[2..].copy_from_slice(&min.to_le_bytes());
    for group in 0..GROUPS / 2 {
        let other = group + GROUPS / 2;
        packed[group] = scale_bits[group] | scale_bits[other] >> 4 << 6;
        packed[group + 4] = min_bits[group] | min_bits[other] >> 4 << 6;
        packed[group + 8] = scale_bits[other] & 0xF | min_bits[other] << 4;
    }
    if !(scale.is_finite() && min.is_finite()) {
        return None;
    }
    // The codes are chosen again under the scales as they were stored, where there is one.
    let [scales, mins] = self::scales(head);
    for (values, codes) in values.iter().zip(&mut codes) {
        for group in 0..GROUPS {
            let code = (values[group] + mins[group]) / scales[group];
            let code = whole(code.clamp(0.0, search.most));
            codes[group] = if scales[group] == 0.0 {
                codes[group]
            } else {
                code
            };
        }
    }
    Some(codes)
}

/// A block whose scales are searched.
struct Block<'a> {
    values: &'a [OfGroups; GROUP_VALUES],
    /// Root mean squares, which values are weighted by beside their magnitudes.
    root: OfGroups,
    /// Sums of the weights, and of the weighted values.
    sums: [OfGroups; 2],
    /// The least value, at most zero, and the largest.
    low: OfGroups,
    high: OfGroups,
}

/// Scales and minima for a block, the codes under them, and their weighted error.
struct Fit {
    scale: OfGroups,
    min: OfGroups,
    codes: [OfGroups; GROUP_VALUES],
    error: OfGroups,
}

fn each(of: impl Fn(usize) -> f32) -> OfGroups {
    std::array::from_fn(of)
}

impl Search {
    /// The scale and the minimum of each group, and codes under them: of those that are tried, each above the best
    /// minimum so far, with the best minimum for its codes by least squares, the ones with the least error.
    #[inline(always)]
    fn fit(
        &self,
        values: &[OfGroups; GROUP_VALUES],
    ) -> (OfGroups, OfGroups, [Codes; GROUP_VALUES]) {
        let block = Block::new(values);
        let mut best = block.plain(self.most);
        for tried in 0..=self.tries {
            let most = self.first + 0.1 * f32::from(tried) + self.most;
            let (fit, solved) = block.least_squares(self.most, most, &best.min);
            let better: [bool; GROUPS] = std::array::from_fn(|group| {
                solved[group] > 0.0 && fit.error[group] < best.error[group]
            });
            let choose = |best: &mut OfGroups, fit: &OfGroups| {
                *best = each(|group| {
                    if better[group] {
                        fit[group]
                    } else {
                        best[group]
                    }
                });
            };
            choose(&mut best.scale, &fit.scale);
            choose(&mut best.min, &fit.min);
            choose(&mut best.error, &fit.error);
            for (best, fit) in best.codes.iter_mut().zip(&fit.codes) {
                choose(best, fit);
            }
        }
        // Where all values are one, and not above zero, nothing but the minimum is stored.
        let is_one: [bool; GROUPS] =
            std::array::from_fn(|group| block.high[group] == block.low[group]);
        let scale = each(|group| {
            if is_one[group] {
                0.0
            } else {
                best.scale[group]
            }
        });
        let min = each(|group| {
            if is_one[group] {
                -block.low[group]
            } else {
                -best.min[group]
            }
        });
        let codes = best.codes.map(|codes| {
            std::array::from_fn(|group| {
                if is_one[group] {
                    0
                } else {
                    whole(codes[group])
                }
            })
        });
        (scale, min, codes)
    }
}

impl<'a> Block<'a> {
    #[inline(always)]
    fn new(values: &'a [OfGroups; GROUP_VALUES]) -> Self {
        let mut squares = [0.0; GROUPS];
        let (mut low, mut high) = ([0.0; GROUPS], values[0]);
        for values in values {
            for group in 0..GROUPS {
                let value = values[group];
                squares[group] += value * value;
                low[group] = if value < low[group] {
                    value
                } else {
                    low[group]
                };
                high[group] = if value > high[group] {
                    value
                } else {
                    high[group]
                };
            }
        }
        let mut block = Self {
            values,
            root: squares.map(|squares| (squares / 32.0).sqrt()),
            sums: [[0.0; GROUPS]; 2],
            low,
            high,
        };
        for values in values {
            for group in 0..GROUPS {
                let weight = block.weight(values, group);
                block.sums[0][group] += weight;
                block.sums[1][group] += weight * values[group];
            }
        }
        block
    }

    #[inline(always)]
    fn weight(&self, values: &OfGroups, group: usize) -> f32 {
        self.root[group] + values[group].abs()
    }

    /// What values above the minimum are multiplied by so that the largest one becomes `most`.
    #[inline(always)]
    fn inverse(&self, most: f32, min: &OfGroups) -> OfGroups {
        each(|group| most / (self.high[group] - min[group]))
    }

    /// The codes of the values above the minimum.
    #[inline(always)]
    fn codes(
        &self,
        largest_code: f32,
        inverse: &OfGroups,
        min: &OfGroups,
    ) -> [OfGroups; GROUP_VALUES] {
        self.values.map(|values| {
            each(|group| {
                let code = inverse[group] * (values[group] - min[group]);
                code.round_ties_even().clamp(0.0, largest_code)
            })
        })
    }

    /// The weighted squares of what is off.
    #[inline(always)]
    fn error(
        &self,
        scale: &OfGroups,
        min: &OfGroups,
        codes: &[OfGroups; GROUP_VALUES],
    ) -> OfGroups {
        let mut error = [0.0; GROUPS];
        for (values, codes) in self.values.iter().zip(codes) {
            for group in 0..GROUPS {
                let off = scale[group] * codes[group] + min[group] - values[group];
                error[group] += self.weight(values, group) * (off * off);
            }
        }
        error
    }

    /// The scales that make the largest value the largest code.
    #[inline(always)]
    fn plain(&self, largest_code: f32) -> Fit {
        let inverse = self.inverse(largest_code, &self.low);
        let codes = self.codes(largest_code, &inverse, &self.low);
        let scale = inverse.map(|inverse| 1.0 / inverse);
        Fit {
            error: self.error(&scale, &self.low, &codes),
            scale,
            min: self.low,
            codes,
        }
    }

    /// The best scales and minima by least squares for the codes that values have where the minimum is `above` and the
    /// largest value becomes `most`, and determinants, which are above zero where there are such.
    #[inline(always)]
    fn least_squares(&self, largest_code: f32, most: f32, above: &OfGroups) -> (Fit, OfGroups) {
        let inverse = self.inverse(most, above);
        let codes = self.codes(largest_code, &inverse, above);
        // Weighted sums of the codes, their squares, and their products with the values.
        let mut sums = [[0.0; GROUPS]; 3];
        for (values, codes) in self.values.iter().zip(&codes) {
            for group in 0..GROUPS {
                let product = self.weight(values, group) * codes[group];
                sums[0][group] += product;
                sums[1][group] += product * codes[group];
                sums[2][group] += product * values[group];
            }
        }
        let [of_codes, of_squares, of_products] = sums;
        let [weights, weighted] = self.sums;
        let determinant =
            each(|group| weights[group] * of_squares[group] - of_codes[group] * of_codes[group]);
        let min = each(|group| {
            (of_squares[group] * weighted[group] - of_codes[group] * of_products[group])
                / determinant[group]
        });
        let scale = each(|group| {
            let with_min = (weights[group] * of_products[group]
                - weighted[group] * of_codes[group])
                / determinant[group];
            if min[group] > 0.0 {
                of_products[group] / of_squares[group]
            } else {
                with_min
            }
        });
        // Minima are taken from the products, so they cannot be added to them.
        let min = min.map(|min| if min > 0.0 { 0.0 } else { min });
        let fit = Fit {
            error: self.error(&scale, &min, &codes),
            scale,
            min,
            codes,
        };
        (fit, determinant)
    }
}
