// Rows of a table to values, found by their addresses or their ids.
//
// Compiled to rows.ptx by make_ptx.py, and by a C++ compiler through host.cpp for tests without a GPU. A thread makes
// `step` consecutive values of one row, so threads never wait for one another. src/kernels.rs has the same structures.

#ifndef ENGRAM_HOST
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ inline float as_float(u32 bits) { return __uint_as_float(bits); }
__device__ inline u32 as_bits(float value) { return __float_as_uint(value); }
#endif

#include "codecs.cuh"

// Rows at addresses that are known; zero stands for a row of zeros.
struct Decode {
    const u64* addresses;
    void* out;
    u32 rows;
    u32 step;
    Codec codec;
};

struct MappedColumn {
    u64 first_row;
    // Of the shard; zero where the column is not in memory.
    u64 address;
};

// Rows by their ids: those in device memory from there, others from the columns.
struct Gather {
    const u64* ids;
    const MappedColumn* columns;
    // A table with open addressing of what is in device memory: row id + 1 in the upper 36 bits, place in the lower
    // 28; zero where free. Null where nothing is.
    const u64* hot_entries;
    const u8* hot_rows;
    void* out;
    u32 rows;
    u32 step;
    u32 column_count;
    u32 hot_mask;
    u32 hot_stride;
    u32 header_bytes;
    u32 group_records;
    u32 group_bytes;
    u32 stride;
    Codec codec;
};

// To nearest, ties to even.
__device__ inline u32 narrowed_bf16(u32 bits) {
    if (is_nan(bits)) {
        return bits >> 16 | 0x40;
    }
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

__device__ inline u32 narrowed_f16(u32 bits) {
    u32 sign = bits >> 16 & 0x8000;
    u32 magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) {
        return sign | 0x7E00 | (magnitude >> 13 & 0x3FF);
    }
    // 65520 and more round to infinity.
    if (magnitude >= 0x477FF000) {
        return sign | 0x7C00;
    }
    // Below 2^-14 the result is subnormal: a count of 2^-24, which adding 0.5 rounds to.
    if (magnitude < 0x38800000) {
        return sign | (as_bits(as_float(magnitude) + 0.5f) - 0x3F000000);
    }
    return sign | (magnitude - 0x38000000 + 0xFFF + (magnitude >> 13 & 1)) >> 13;
}

struct ToF32 {
    enum { bytes = 4 };
    __device__ static void one(u8* out, u32 value) { *(u32*)out = value; }
    __device__ static void eight(u8* out, const u32* v) {
        ((uint4*)out)[0] = make_uint4(v[0], v[1], v[2], v[3]);
        ((uint4*)out)[1] = make_uint4(v[4], v[5], v[6], v[7]);
    }
};

template <u32 (*narrowed)(u32)>
struct ToHalf {
    enum { bytes = 2 };
    __device__ static void one(u8* out, u32 value) { *(u16*)out = (u16)narrowed(value); }
    __device__ static void eight(u8* out, const u32* v) {
        u32 pairs[4];
        for (u32 pair = 0; pair < 4; pair++) {
            pairs[pair] = narrowed(v[2 * pair]) | narrowed(v[2 * pair + 1]) << 16;
        }
        *(uint4*)out = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
};

typedef ToHalf<narrowed_f16> ToF16;
typedef ToHalf<narrowed_bf16> ToBf16;

// Writes values of the row at `row`, or zeros, to row `place` of `out`.
template <class To>
__device__ void decode_part(const u8* row, const Codec& codec, u32 step, u32 part, u32 place, void* out) {
    u32 index = part * step;
    u8* values = (u8*)out + ((u64)place * codec.width + index) * To::bytes;
    if (step == 1) {
        To::one(values, row ? value_at(row, codec, index) : 0);
        return;
    }
    u32 eight[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (row) {
        eight_values(row, codec, index, eight);
    }
    To::eight(values, eight);
}

__device__ inline u64 thread_index() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

template <class To>
__device__ void decode(const Decode& call) {
    u32 parts = call.codec.width / call.step;
    u64 thread = thread_index();
    u32 place = (u32)(thread / parts);
    if (place < call.rows) {
        const u8* row = (const u8*)call.addresses[place];
        decode_part<To>(row, call.codec, call.step, (u32)(thread % parts), place, call.out);
    }
}

// Where the row `id` lies, or null.
__device__ inline const u8* find(const Gather& call, u64 id) {
    if (call.hot_entries) {
        u64 key = id + 1;
        // Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4).
        u32 place = (u32)(key * 0x9E3779B97F4A7C15 >> 32) & call.hot_mask;
        for (u64 found = call.hot_entries[place]; found; found = call.hot_entries[place]) {
            if (found >> 28 == key) {
                return call.hot_rows + (found & 0xFFFFFFF) * call.hot_stride;
            }
            place = (place + 1) & call.hot_mask;
        }
    }
    u32 low = 0;
    u32 high = call.column_count;
    while (high - low > 1) {
        u32 middle = (low + high) / 2;
        if (call.columns[middle].first_row <= id) {
            low = middle;
        } else {
            high = middle;
        }
    }
    MappedColumn column = call.columns[low];
    if (!column.address) {
        return 0;
    }
    u32 record = (u32)(id - column.first_row);
    u64 group = record / call.group_records;
    u64 slot = record % call.group_records;
    return (const u8*)column.address + call.header_bytes + group * call.group_bytes + slot * call.stride;
}

template <class To>
__device__ void gather(const Gather& call) {
    u32 parts = call.codec.width / call.step;
    u64 thread = thread_index();
    u32 place = (u32)(thread / parts);
    if (place < call.rows) {
        const u8* row = find(call, call.ids[place]);
        decode_part<To>(row, call.codec, call.step, (u32)(thread % parts), place, call.out);
    }
}

extern "C" {
__global__ void decode_f32(Decode call) { decode<ToF32>(call); }
__global__ void decode_f16(Decode call) { decode<ToF16>(call); }
__global__ void decode_bf16(Decode call) { decode<ToBf16>(call); }
__global__ void gather_f32(Gather call) { gather<ToF32>(call); }
__global__ void gather_f16(Gather call) { gather<ToF16>(call); }
__global__ void gather_bf16(Gather call) { gather<ToBf16>(call); }

#ifndef ENGRAM_HOST
// Stands in for computation: runs for some nanoseconds.
__global__ void spin(u64 nanoseconds) {
    u64 start, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
    do {
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    } while (now - start < nanoseconds);
}
#endif
}
