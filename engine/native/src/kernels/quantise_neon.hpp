// quantise.hpp four groups of four columns at a time, with the same bits, in neon_set.hpp's order.
#pragma once

#include <arm_neon.h>

#include "quantise.hpp"

namespace selenograph {
namespace {

inline float32x4_t best_multipliers(const float32x4x4_t& x, float32x4_t scale) {
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t largest = vmaxq_f32(vmaxq_f32(vabsq_f32(x.val[0]), vabsq_f32(x.val[1])),
                                          vmaxq_f32(vabsq_f32(x.val[2]), vabsq_f32(x.val[3])));
    const float32x4_t full = vmulq_f32(vdupq_n_f32(127.0f), scale);
    const float32x4_t least = vmaxq_f32(one, vrndpq_f32(vdivq_f32(largest, full)));
    const float32x4_t apart =
        vmaxq_f32(one, vrndmq_f32(vdivq_f32(least, vdupq_n_f32(kLeastShare))));
    float32x4_t best = vdupq_n_f32(INFINITY);
    float32x4_t chosen = least;
    for (int i = 0; i < kCandidates; ++i) {
        const float32x4_t m =
            vaddq_f32(least, vmulq_f32(vdupq_n_f32(static_cast<float>(i)), apart));
        const float32x4_t inverse = vdivq_f32(one, vmulq_f32(scale, m));
        float32x4_t error[kShared];
        for (int c = 0; c < kShared; ++c) {
            const float32x4_t value = vmulq_f32(x.val[c], inverse);
            const float32x4_t rest = vsubq_f32(value, vrndnq_f32(value));
            error[c] = vmulq_f32(rest, rest);
        }
        const float32x4_t sum = vmulq_f32(
            vaddq_f32(vaddq_f32(error[0], error[1]), vaddq_f32(error[2], error[3])),
            vmulq_f32(m, m));
        const uint32x4_t better = vcltq_f32(sum, best);
        best = vbslq_f32(better, sum, best);
        chosen = vbslq_f32(better, m, chosen);
    }
    return chosen;
}

// Sixteen columns to q and m; returns the sum of m * q.
inline std::int32_t put_sixteen(const float* x, float32x4_t scale, std::uint8_t* q,
                                std::uint8_t* multipliers) {
    const float32x4x4_t columns = vld4q_f32(x);    // lane i: group i
    const float32x4_t chosen = best_multipliers(columns, scale);
    const float32x4_t inverse = vdivq_f32(vdupq_n_f32(1.0f), vmulq_f32(scale, chosen));
    int32x4_t sum = vdupq_n_s32(0);
    uint32x4_t packed = vdupq_n_u32(0);
    for (int c = kShared - 1; c >= 0; --c) {
        const int32x4_t rounded = vcvtnq_s32_f32(vmulq_f32(columns.val[c], inverse));
        const int32x4_t held = vmaxq_s32(vminq_s32(rounded, vdupq_n_s32(127)), vdupq_n_s32(-127));
        sum = vaddq_s32(sum, held);
        const uint32x4_t byte = vandq_u32(vreinterpretq_u32_s32(held), vdupq_n_u32(255));
        packed = vorrq_u32(vshlq_n_u32(packed, 8), byte);
    }
    const int32x4_t m = vcvtnq_s32_f32(chosen);
    vst1q_u8(q, vreinterpretq_u8_u32(packed));
    vst1_u8(multipliers, vreinterpret_u8_s16(vmovn_s32(m)));
    return vaddvq_s32(vmulq_s32(sum, m));
}

inline float quantise_row_neon(const float* x, std::int64_t columns, std::uint8_t* data,
                               std::int32_t* offset) {
    // Infinity and NaN leave a trace in the sum of x * 0.
    float32x4_t most = vdupq_n_f32(0.0f), trace = vdupq_n_f32(0.0f);
    for (std::int64_t c = 0; c < columns; c += 4) {
        const float32x4_t value = vld1q_f32(x + c);
        most = vmaxq_f32(most, vabsq_f32(value));
        trace = vaddq_f32(trace, vmulq_f32(value, vdupq_n_f32(0.0f)));
    }
    if (std::isnan(vaddvq_f32(trace))) return NAN;
    const float largest = vmaxvq_f32(most);
    if (largest < kNoValue) return 0.0f;
    const float scale = row_scale(largest);
    const float32x4_t wide = vdupq_n_f32(scale);
    for (std::int64_t g = 0; g < columns / kGroup; ++g) {
        std::uint8_t* to = data + g * (kGroup + kGroup / 2);
        const float* from = x + g * kGroup;
        offset[g] = -8 * (put_sixteen(from, wide, to, to + 32) +
                          put_sixteen(from + 16, wide, to + 16, to + 40));
    }
    return scale;
}

}  // namespace
}  // namespace selenograph
