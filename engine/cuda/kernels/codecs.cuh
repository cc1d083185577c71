// Codes to values: the device's side of engram_format::RowCodec, bit for bit (FORMAT.md, "Row codecs").
//
// A value is the number that its code names, times the factors of its group, less the group's minimum. Values stay bits
// of f32 until they are stored, so that no compiler touches the bits of a NaN.

// RowCodec::id.
enum {
    F32 = 1,
    F16 = 2,
    BF16 = 3,
    FP8_UE8M0 = 4,
    FP8_SCALED = 5,
    FP8 = 6,
    FP8_GROUPED = 7,
    INT8 = 8,
    INT4 = 9,
    NVFP4 = 10,
    MXFP4 = 11,
    Q8_0 = 12,
    Q4_0 = 13,
    IQ4_NL = 14,
    MXFP4_GGUF = 15,
    NVFP4_GGUF = 16,
    Q4_K = 17,
    Q5_K = 18
};

// How scales of groups are stored.
enum { SCALE_F32 = 0, SCALE_F16 = 1, SCALE_BF16 = 2, SCALE_E4M3 = 3, SCALE_UE8M0 = 4 };

struct Codec {
    u32 kind;
    u32 width;
    // Values that share a scale.
    u32 group;
    // The scale of the whole table, as the bits of an f32.
    u32 scale_bits;
    u32 scale_type;
};

// E4M3 without infinities.
__device__ inline u32 e4m3(u32 code) {
    u32 magnitude = code & 0x7F;
    u32 sign = (code & 0x80) << 24;
    if (magnitude == 0x7F) {
        return sign | 0x7FC00000;
    }
    if (magnitude < 8) {
        return sign | as_bits((float)magnitude * (1.0f / 512.0f));
    }
    return sign | ((magnitude << 20) + (120u << 23));
}

__device__ inline u32 ue8m0(u32 code) {
    return code == 0 ? 1u << 22 : code == 255 ? 0x7FC00000 : code << 23;
}

__device__ inline bool is_nan(u32 bits) { return (bits & 0x7FFFFFFF) > 0x7F800000; }

// A device's product of a NaN loses its bits; a processor's does not.
__device__ inline u32 scaled(u32 value, u32 scale) {
    if (is_nan(value)) {
        return value;
    }
    if (is_nan(scale)) {
        return scale;
    }
    return as_bits(as_float(value) * as_float(scale));
}

// A difference, as `scaled` is a product.
__device__ inline u32 less(u32 value, u32 subtrahend) {
    if (is_nan(value)) {
        return value;
    }
    if (is_nan(subtrahend)) {
        return subtrahend;
    }
    return as_bits(as_float(value) - as_float(subtrahend));
}

__device__ inline u32 widened_bf16(u32 bits) {
    return is_nan(bits << 16) ? (bits | 0x40) << 16 : bits << 16;
}

__device__ inline u32 widened_f16(u32 bits) {
    u32 sign = (bits & 0x8000) << 16;
    u32 exponent = bits >> 10 & 0x1F;
    u32 mantissa = bits & 0x3FF;
    if (exponent == 0x1F) {
        return sign | 0x7F800000 | (mantissa ? 0x400000 : 0) | mantissa << 13;
    }
    if (exponent == 0) {
        return sign | as_bits((float)mantissa * (1.0f / 16777216.0f));
    }
    return sign | (exponent + 112) << 23 | mantissa << 13;
}

// As GGML reads scales: without a sign, 7F is 0 and FF is 480.
__device__ inline u32 ue4m3(u32 code) {
    u32 magnitude = code & 0x7F;
    if (magnitude == 0x7F) {
        return code == 0x7F ? 0 : as_bits(480.0f);
    }
    return e4m3(magnitude);
}

// Twice the magnitude of an E2M1 code.
__device__ inline u32 e2m1_doubled(u32 code) { return 0xC8643210u >> 4 * (code & 7) & 0xF; }

// E2M1 with a negative zero, as checkpoints have it.
__device__ inline u32 e2m1(u32 code) {
    return as_bits((float)e2m1_doubled(code) * 0.5f) | (code & 8) << 28;
}

// Twice E2M1 with one zero, as GGML has it.
__device__ inline u32 e2m1_gguf(u32 code) {
    int magnitude = (int)e2m1_doubled(code);
    return as_bits((float)(code & 8 ? -magnitude : magnitude));
}

// GGML's values of the codes of IQ4_NL, a byte each.
__device__ inline u32 iq4_nl(u32 code) {
    u64 eight = code & 8 ? 0x7159453526190D01ull : 0xF6EADDCFBFAD9881ull;
    return as_bits((float)(signed char)(eight >> 8 * (code & 7)));
}

__device__ inline u32 half_word(const u8* bytes) { return bytes[0] | (u32)bytes[1] << 8; }

__device__ inline u32 word(const u8* bytes) { return half_word(bytes) | half_word(bytes + 2) << 16; }

__device__ inline u32 signed_byte(u8 byte) { return as_bits((float)(signed char)byte); }

// The nibble of the byte at `at`.
__device__ inline u32 nibble(const u8* bytes, u32 at, bool high) { return high ? bytes[at] >> 4 : bytes[at] & 0xF; }

// Scale `at` of those behind a row's values.
__device__ inline u32 group_scale(const u8* scales, u32 type, u32 at) {
    switch (type) {
        case SCALE_F32:
            return word(scales + 4 * at);
        case SCALE_F16:
            return widened_f16(half_word(scales + 2 * at));
        case SCALE_BF16:
            return widened_bf16(half_word(scales + 2 * at));
        case SCALE_E4M3:
            return e4m3(scales[at]);
        default:
            return ue8m0(scales[at]);
    }
}

// What codes of a group become values by.
struct Group {
    u32 scale;
    // A second factor, that of the table.
    bool scaled_again;
    u32 table_scale;
    // What is taken from the product.
    bool has_min;
    u32 min;
};

__device__ inline Group by(u32 scale) { return {scale, false, 0, false, 0}; }

__device__ inline Group by(u32 scale, u32 table_scale) { return {scale, true, table_scale, false, 0}; }

// Block and place in it of a value.
struct Place {
    const u8* block;
    u32 at;
};

__device__ inline Place place_in(const u8* row, u32 block_values, u32 block_bytes, u32 index) {
    return {row + index / block_values * block_bytes, index % block_values};
}

__device__ inline Place k_quant_place(const u8* row, u32 kind, u32 index) {
    return place_in(row, 256, kind == Q4_K ? 144 : 176, index);
}

// The scale and the minimum of a group of a Q4_K or Q5_K block.
__device__ inline Group k_quant_group(const u8* block, u32 group) {
    const u8* packed = block + 4;
    u32 scale, min;
    if (group < 4) {
        scale = packed[group] & 0x3F;
        min = packed[4 + group] & 0x3F;
    } else {
        scale = (packed[4 + group] & 0xF) | packed[group - 4] >> 6 << 4;
        min = packed[4 + group] >> 4 | packed[group] >> 6 << 4;
    }
    return {scaled(as_bits((float)scale), widened_f16(half_word(block))), false, 0, true,
            scaled(as_bits((float)min), widened_f16(half_word(block + 2)))};
}

// What the value at `index` of a row shares with its group, of codecs with scales.
__device__ inline Group group_at(const u8* row, const Codec& codec, u32 index) {
    switch (codec.kind) {
        case FP8_UE8M0:
            return by(ue8m0(row[codec.width + index / codec.group]));
        case FP8_SCALED:
            return by(codec.scale_bits);
        case FP8_GROUPED:
        case INT8:
            return by(group_scale(row + codec.width, codec.scale_type, index / codec.group));
        case INT4:
            return by(group_scale(row + codec.width / 2, codec.scale_type, index / codec.group));
        case NVFP4:
            return by(e4m3(row[codec.width / 2 + index / 16]), codec.scale_bits);
        case MXFP4:
            return by(ue8m0(row[codec.width / 2 + index / 32]));
        case Q8_0:
            return by(widened_f16(half_word(place_in(row, 32, 34, index).block)));
        case Q4_0:
        case IQ4_NL:
            return by(widened_f16(half_word(place_in(row, 32, 18, index).block)));
        case MXFP4_GGUF: {
            u32 code = *place_in(row, 32, 17, index).block;
            // 2^(code - 128); the first two are subnormal.
            return by(code < 2 ? 1u << (21 + code) : (code - 1) << 23);
        }
        case NVFP4_GGUF: {
            Place place = place_in(row, 64, 36, index);
            return by(scaled(ue4m3(place.block[place.at / 16]), as_bits(0.5f)), codec.scale_bits);
        }
        default: {
            Place place = k_quant_place(row, codec.kind, index);
            return k_quant_group(place.block, place.at / 32);
        }
    }
}

// The number that the code at `index` of a row names, of codecs with scales.
__device__ inline u32 number_at(const u8* row, const Codec& codec, u32 index) {
    switch (codec.kind) {
        case FP8_UE8M0:
        case FP8_SCALED:
        case FP8_GROUPED:
            return e4m3(row[index]);
        case INT8:
            return signed_byte(row[index]);
        case INT4: {
            u32 code = nibble(row, index / 2, index % 2);
            return as_bits((float)(code & 8 ? (int)code - 16 : (int)code));
        }
        case NVFP4:
        case MXFP4:
            return e2m1(nibble(row, index / 2, index % 2));
        case Q8_0: {
            Place place = place_in(row, 32, 34, index);
            return signed_byte(place.block[2 + place.at]);
        }
        case Q4_0: {
            Place place = place_in(row, 32, 18, index);
            return as_bits((float)((int)nibble(place.block + 2, place.at % 16, place.at / 16) - 8));
        }
        case IQ4_NL: {
            Place place = place_in(row, 32, 18, index);
            return iq4_nl(nibble(place.block + 2, place.at % 16, place.at / 16));
        }
        case MXFP4_GGUF: {
            Place place = place_in(row, 32, 17, index);
            return e2m1_gguf(nibble(place.block + 1, place.at % 16, place.at / 16));
        }
        case NVFP4_GGUF: {
            Place place = place_in(row, 64, 36, index);
            const u8* bytes = place.block + 4 + place.at / 16 * 8;
            return e2m1_gguf(nibble(bytes, place.at % 8, place.at % 16 / 8));
        }
        default: {
            Place place = k_quant_place(row, codec.kind, index);
            u32 group = place.at / 32;
            u32 in_group = place.at % 32;
            const u8* codes = place.block + (codec.kind == Q4_K ? 16 : 48);
            u32 code = nibble(codes + group / 2 * 32, in_group, group % 2);
            if (codec.kind == Q5_K) {
                code |= (place.block[16 + in_group] >> group & 1) << 4;
            }
            return as_bits((float)code);
        }
    }
}

__device__ inline u32 value_of(u32 number, const Group& group) {
    u32 value = scaled(number, group.scale);
    if (group.scaled_again) {
        value = scaled(value, group.table_scale);
    }
    return group.has_min ? less(value, group.min) : value;
}

// The bits in f32 of the value at `index` of a row. One copy serves all kernels.
__device__ __noinline__ u32 value_at(const u8* row, Codec codec, u32 index) {
    switch (codec.kind) {
        case F32:
            return word(row + 4 * index);
        case F16:
            return widened_f16(half_word(row + 2 * index));
        case BF16:
            return widened_bf16(half_word(row + 2 * index));
        case FP8:
            return e4m3(row[index]);
        default:
            return value_of(number_at(row, codec, index), group_at(row, codec, index));
    }
}

struct Eight {
    u32 values[8];
};

// As `eight_values`, a byte at a time, for rows at any address. One copy serves all kernels.
__device__ __noinline__ Eight eight_by_bytes(const u8* row, Codec codec, u32 index) {
    Eight eight;
    if (codec.kind == FP8) {
        for (u32 at = 0; at < 8; at++) {
            eight.values[at] = e4m3(row[index + at]);
        }
        return eight;
    }
    Group group = group_at(row, codec, index);
    for (u32 at = 0; at < 8; at++) {
        eight.values[at] = value_of(number_at(row, codec, index + at), group);
    }
    return eight;
}

// The eight values from `index` on, a multiple of eight as `group` is. Rows of the first five codecs lie at multiples
// of eight bytes.
__device__ inline void eight_values(const u8* row, const Codec& codec, u32 index, u32* values) {
    switch (codec.kind) {
        case F32: {
            const uint2* words = (const uint2*)(row + 4 * index);
            for (u32 pair = 0; pair < 4; pair++) {
                uint2 word = words[pair];
                values[2 * pair] = word.x;
                values[2 * pair + 1] = word.y;
            }
            return;
        }
        case F16:
        case BF16: {
            const uint2* words = (const uint2*)(row + 2 * index);
            for (u32 half = 0; half < 2; half++) {
                uint2 word = words[half];
                u32 parts[4] = {word.x & 0xFFFF, word.x >> 16, word.y & 0xFFFF, word.y >> 16};
                for (u32 part = 0; part < 4; part++) {
                    values[4 * half + part] =
                        codec.kind == F16 ? widened_f16(parts[part]) : widened_bf16(parts[part]);
                }
            }
            return;
        }
        case FP8_UE8M0:
        case FP8_SCALED: {
            uint2 word = *(const uint2*)(row + index);
            u32 scale = codec.kind == FP8_UE8M0 ? ue8m0(row[codec.width + index / codec.group])
                                                : codec.scale_bits;
            for (u32 byte = 0; byte < 4; byte++) {
                values[byte] = scaled(e4m3(word.x >> 8 * byte & 0xFF), scale);
                values[4 + byte] = scaled(e4m3(word.y >> 8 * byte & 0xFF), scale);
            }
            return;
        }
        default: {
            Eight eight = eight_by_bytes(row, codec, index);
            for (u32 at = 0; at < 8; at++) {
                values[at] = eight.values[at];
            }
        }
    }
}
