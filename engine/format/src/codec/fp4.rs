//! FP4 codes: sign, two exponent bits of bias 1, one mantissa bit.

use super::lanes::LANES;

/// E2M1 as PyTorch reads `float4_e2m1fn_x2`, with a negative zero.
pub(super) const E2M1: [f32; LANES] = [
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
];

/// Twice E2M1 as GGML reads it, whose integers have one zero. Its scales are half of what they would be.
pub(super) const E2M1_DOUBLED: [f32; LANES] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0,
];
