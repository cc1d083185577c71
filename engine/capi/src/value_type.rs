//! What rows are decoded to.

use engram::ValueType;
use engram_ffi::{ErrorKind, Failure};

/// What rows are handed out as: one of the four constants below.
pub type engram_value_type = u32;

/// The bytes of the checkpoint, as `engram_layer_codec` names them.
pub const ENGRAM_STORED: engram_value_type = 0;
/// Decoded to IEEE binary32, 4 bytes a value.
pub const ENGRAM_F32: engram_value_type = 1;
/// Decoded to IEEE binary16, 2 bytes a value, rounded to nearest even.
pub const ENGRAM_F16: engram_value_type = 2;
/// Decoded to bfloat16 (the upper half of binary32), 2 bytes a value, rounded to nearest even.
pub const ENGRAM_BF16: engram_value_type = 3;

/// What rows are decoded to; none for their bytes.
pub(crate) fn value_type(constant: engram_value_type) -> Result<Option<ValueType>, Failure> {
    match constant {
        ENGRAM_STORED => Ok(None),
        ENGRAM_F32 => Ok(Some(ValueType::F32)),
        ENGRAM_F16 => Ok(Some(ValueType::F16)),
        ENGRAM_BF16 => Ok(Some(ValueType::Bf16)),
        _ => Err(Failure::new(
            ErrorKind::BadArgument,
            format!(
                "`value_type` is {constant}, expected ENGRAM_STORED, ENGRAM_F32, ENGRAM_F16 or ENGRAM_BF16"
            ),
        )),
    }
}
