// The kernels as C++ functions, so that tests without a GPU run the very same source.

#define ENGRAM_HOST

#include <cstdint>
#include <cstring>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

struct uint2 {
    u32 x, y;
};
struct uint4 {
    u32 x, y, z, w;
};
static uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }

static float as_float(u32 bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
static u32 as_bits(float value) {
    u32 bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

struct Index {
    u32 x;
};
static thread_local Index blockIdx, blockDim, threadIdx;

#define __device__
#define __noinline__
#define __global__ static
#include "rows.cu"

// Runs a kernel as `blocks` blocks of `threads` threads would.
#define RUN(kernel, Call)                                                   \
    extern "C" void run_##kernel(const Call* call, u32 blocks, u32 threads) { \
        blockDim.x = threads;                                               \
        for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {           \
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) {   \
                kernel(*call);                                              \
            }                                                               \
        }                                                                   \
    }
RUN(decode_f32, Decode)
RUN(decode_f16, Decode)
RUN(decode_bf16, Decode)
RUN(gather_f32, Gather)
RUN(gather_f16, Gather)
RUN(gather_bf16, Gather)
