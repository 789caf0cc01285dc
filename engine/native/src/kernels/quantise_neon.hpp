// quantise.hpp eight fours at a time, with the same bits, in neon_set.hpp's order.
#pragma once

#include <arm_neon.h>

#include "quantise.hpp"

namespace selenograph {
namespace {

// The high half of a square, of which there are three: doubled, as it comes, they would not fit.
inline uint16x8_t square(uint16x8_t miss) {
    const int16x8_t signed_miss = vreinterpretq_s16_u16(miss);
    return vshrq_n_u16(vreinterpretq_u16_s16(vqdmulhq_s16(signed_miss, signed_miss)), 1);
}

inline uint16x8_t high_half(uint16x8_t x, uint16x4_t factor) {
    const uint16x8_t low = vreinterpretq_u16_u32(vmull_u16(vget_low_u16(x), factor));
    const uint16x8_t high = vreinterpretq_u16_u32(vmull_u16(vget_high_u16(x), factor));
    return vuzp2q_u16(low, high);
}

// best_landing of eight fours.
inline uint16x8_t best_landings(const uint16x8_t (&share)[kOthers]) {
    uint16x8_t n = vdupq_n_u16(kFinest), chosen = n, best = vdupq_n_u16(65535);
    uint16x8_t miss[kOthers];
    for (int c = 0; c < kOthers; ++c) miss[c] = vmulq_n_u16(share[c], kFinest);
    for (int i = 0; i < kLandings; ++i) {
        const uint16x8_t sum =
            vaddq_u16(vaddq_u16(square(miss[0]), square(miss[1])), square(miss[2]));
        const uint16x8_t loss = high_half(sum, vdup_n_u16(kLanding.worth[i]));
        chosen = vbslq_u16(vcltq_u16(loss, best), n, chosen);
        best = vminq_u16(loss, best);
        n = vsubq_u16(n, vdupq_n_u16(1));
        for (int c = 0; c < kOthers; ++c) miss[c] = vsubq_u16(miss[c], share[c]);
    }
    return chosen;
}

inline uint16x4_t shares(float32x4_t x, float32x4_t unit) {
    const float32x4_t share = vmulq_f32(vmulq_f32(x, unit), vdupq_n_f32(65536.0f));
    return vorr_u16(vmovn_u32(vreinterpretq_u32_s32(vcvtnq_s32_f32(share))), vdup_n_u16(1));
}

// Sixteen columns, lane i of each value the i-th four: their largest, and what the others are of it.
struct Fours {
    float32x4x4_t x;
    float32x4_t largest;
    uint16x4_t share[kOthers];

    Fours(const float* from, float32x4_t scale) : x(vld4q_f32(from)) {
        const float32x4_t a = vabsq_f32(x.val[0]), b = vabsq_f32(x.val[1]);
        const float32x4_t c = vabsq_f32(x.val[2]), d = vabsq_f32(x.val[3]);
        const float32x4_t first = vmaxq_f32(a, b), last = vmaxq_f32(c, d);
        largest = vmaxq_f32(first, last);
        const float32x4_t unit = vdivq_f32(vdupq_n_f32(1.0f), vmaxq_f32(largest, scale));
        share[0] = shares(vminq_f32(a, b), unit);
        share[1] = shares(vminq_f32(c, d), unit);
        share[2] = shares(vminq_f32(first, last), unit);
    }
};

// Sixteen columns to q and m, their largest landing on n; returns the sum of m * q.
inline std::int32_t put_sixteen(const Fours& four, uint16x4_t n, float32x4_t scale, std::uint8_t* q,
                                std::uint8_t* multipliers) {
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t full = vmulq_f32(vdupq_n_f32(kFullest), scale);
    const float32x4_t least = vmaxq_f32(one, vrndpq_f32(vdivq_f32(four.largest, full)));
    const float32x4_t landing = vmulq_f32(vcvtq_f32_u32(vmovl_u16(n)), scale);
    const float32x4_t chosen = vmaxq_f32(least, vrndnq_f32(vdivq_f32(four.largest, landing)));
    const float32x4_t inverse = vdivq_f32(one, vmulq_f32(scale, chosen));
    int32x4_t sum = vdupq_n_s32(0);
    uint32x4_t packed = vdupq_n_u32(0);
    for (int c = kShared - 1; c >= 0; --c) {
        const int32x4_t rounded = vcvtnq_s32_f32(vmulq_f32(four.x.val[c], inverse));
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
        const Fours low(from, wide), high(from + 16, wide);
        uint16x8_t share[kOthers];
        for (int c = 0; c < kOthers; ++c) share[c] = vcombine_u16(low.share[c], high.share[c]);
        const uint16x8_t n = best_landings(share);
        offset[g] = -8 * (put_sixteen(low, vget_low_u16(n), wide, to, to + 32) +
                          put_sixteen(high, vget_high_u16(n), wide, to + 16, to + 40));
    }
    return scale;
}

}  // namespace
}  // namespace selenograph
