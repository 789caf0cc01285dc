// bf16 rows to INT4 or INT8 in groups of 32: for dense parts that should take less memory. A group
// with a value that is not finite gets NaN for its scale, so that what comes of it shows.
//
// This is the plain form; kernels/pack_avx2.hpp computes the same bits.
#pragma once

#include "../format.hpp"

namespace selenograph {
namespace {

// The bf16 nearest to a positive number, ties to even.
inline std::uint16_t nearest_bf16(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Rounds to the nearest integer, ties to even, where |x| < 2^22 (no fraction is left above 2^23).
inline float nearest(float x) {
    constexpr float kShift = 12582912.0f;
    return (x + kShift) - kShift;
}

struct Step {
    std::uint16_t scale;           // bf16
    float inverse;
};

// Of a group whose largest magnitude has these bits of bf16.
inline Step step_for(std::uint16_t largest, int most) {
    if (largest >= 0x7f80) return {0x7fc0, 0.0f};
    const float wanted = widen_bf16(largest) / static_cast<float>(most);
    const std::uint16_t scale = nearest_bf16(wanted > 1e-8f ? wanted : 1e-8f);
    return {scale, 1.0f / widen_bf16(scale)};
}

template <int kBits>
void pack_row(const std::uint8_t* row, std::int64_t columns, std::uint8_t* data,
              std::uint8_t* scales) {
    constexpr int kMost = kBits == 4 ? 7 : 127, kLeast = kBits == 4 ? -8 : -127;
    for (std::int64_t g = 0; g < columns / kGroup; ++g) {
        std::uint16_t bits[kGroup];
        std::memcpy(bits, row + g * kGroup * 2, sizeof bits);
        std::uint16_t largest = 0;
        for (const std::uint16_t b : bits)
            if ((b & 0x7fff) > largest) largest = b & 0x7fff;
        const Step step = step_for(largest, kMost);
        std::memcpy(scales + 2 * g, &step.scale, 2);
        std::int32_t q[kGroup] = {};
        for (int c = 0; c < kGroup && step.inverse != 0.0f; ++c) {
            const float value = nearest(widen_bf16(bits[c]) * step.inverse);
            q[c] = static_cast<std::int32_t>(value < kLeast ? kLeast : value > kMost ? kMost : value);
        }
        if constexpr (kBits == 4) {
            for (int c = 0; c < kGroup; c += 2)
                data[(g * kGroup + c) / 2] =
                    static_cast<std::uint8_t>((q[c] + 8) | (q[c + 1] + 8) << 4);
        } else {
            for (int c = 0; c < kGroup; ++c)
                data[g * kGroup + c] = static_cast<std::uint8_t>(static_cast<std::int8_t>(q[c]));
        }
    }
}

}  // namespace
}  // namespace selenograph
