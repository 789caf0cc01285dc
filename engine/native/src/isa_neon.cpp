// 64-bit ARM with dot products of bytes.
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include "isa_table.hpp"
#include "kernels/dot_loop.hpp"
#include "kernels/neon_set.hpp"
#include "kernels/quantise_neon.hpp"

namespace selenograph {
namespace {

struct Dot {
    static int32x4_t add(int32x4_t sum, int32x4_t weights, int32x4_t x) {
        return vdotq_s32(sum, vreinterpretq_s8_s32(weights), vreinterpretq_s8_s32(x));
    }
};

std::int64_t dot_loop(std::int64_t rounds) {
    return dot_chains<Dot>(rounds, vdupq_n_s32(0), vdupq_n_s32(0x07070707), vdupq_n_s32(-3));
}

bool supported() {
#if defined(__linux__)
    constexpr unsigned long kDotProducts = 1ul << 20;   // HWCAP_ASIMDDP
    return (getauxval(AT_HWCAP) & kDotProducts) != 0;
#else
    return true;                   // Apple's own have always had them
#endif
}

}  // namespace

const Isa kNeon = table<NeonSet>("neon", supported, quantise_row_neon, dot_loop);

}  // namespace selenograph
