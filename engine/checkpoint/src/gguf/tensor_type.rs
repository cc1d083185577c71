//! The types of tensors in GGUF files: how many bytes their values take, and which of them are row codecs.

use engram_format::RowCodec;

/// A type of GGML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TensorType {
    /// Its number in a file.
    pub(super) id: u32,
    pub(super) name: &'static str,
    /// Values of a block.
    pub(super) block: u64,
    /// Bytes of a block.
    pub(super) bytes: u64,
}

/// Signed bytes, which also stand for records of another layout.
pub(super) const I8: u32 = 24;
pub(super) const F32: u32 = 0;
pub(super) const NVFP4: u32 = 40;

/// All types of GGML by number, name, values and bytes of a block.
const TYPES: [(u32, &str, u64, u64); 34] = [
    (F32, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (I8, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (NVFP4, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

/// The types whose rows are read.
pub(super) const READ: &str = "F32, F16, BF16, Q8_0, Q4_0, IQ4_NL, MXFP4, NVFP4, Q4_K or Q5_K";

impl TensorType {
    /// The type with that number.
    pub(super) fn find(id: u32) -> Option<Self> {
        let &(id, name, block, bytes) = TYPES.iter().find(|(known, ..)| *known == id)?;
        Some(Self {
            id,
            name,
            block,
            bytes,
        })
    }

    /// The codec of rows of `width` values, `scale` being the table's.
    pub(super) fn codec(self, width: u32, scale: f32) -> Option<RowCodec> {
        let scale_bits = scale.to_bits();
        Some(match self.id {
            F32 => RowCodec::F32 { width },
            1 => RowCodec::F16 { width },
            30 => RowCodec::Bf16 { width },
            8 => RowCodec::Q8_0 { width },
            2 => RowCodec::Q4_0 { width },
            20 => RowCodec::Iq4Nl { width },
            39 => RowCodec::Mxfp4Gguf { width },
            NVFP4 => RowCodec::Nvfp4Gguf { width, scale_bits },
            12 => RowCodec::Q4K { width },
            13 => RowCodec::Q5K { width },
            _ => return None,
        })
    }
}

/// Its name, or else its number.
pub(super) fn type_name(id: u32) -> String {
    TensorType::find(id).map_or_else(|| id.to_string(), |known| known.name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_codecs_have_the_bytes_of_their_types() {
        let mut read = Vec::new();
        for (id, name, block, bytes) in TYPES {
            let known = TensorType::find(id).unwrap();
            let Some(codec) = known.codec(512, 1.0) else {
                continue;
            };
            read.push(name);
            assert_eq!(codec.row_bytes() as u64, 512 / block * bytes, "{name}");
        }
        let listed = READ.replace(" or ", ", ");
        let mut listed: Vec<&str> = listed.split(", ").collect();
        listed.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, listed);
    }
}
