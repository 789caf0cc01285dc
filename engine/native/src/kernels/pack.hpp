// bf16 rows to INT4 or INT8 in groups of 32: for dense parts that should take less memory.
//
// Plain loops that the compiler turns into the vectors of the file that includes them.
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

template <int kBits>
void pack_row(const std::uint8_t* row, std::int64_t columns, std::uint8_t* data,
              std::uint8_t* scales) {
    constexpr float kMost = kBits == 4 ? 7.0f : 127.0f;
    for (std::int64_t g = 0; g < columns / kGroup; ++g) {
        std::uint16_t bits[kGroup];
        std::memcpy(bits, row + g * kGroup * 2, sizeof bits);
        float x[kGroup];
        for (int c = 0; c < kGroup; ++c) x[c] = widen_bf16(bits[c]);
        float most = 0.0f;
        for (int c = 0; c < kGroup; ++c) most = std::fabs(x[c]) > most ? std::fabs(x[c]) : most;
        const float wanted = most / kMost;
        const std::uint16_t scale = nearest_bf16(wanted > 1e-8f ? wanted : 1e-8f);
        std::memcpy(scales + 2 * g, &scale, 2);
        const float inverse = 1.0f / widen_bf16(scale);
        std::int32_t q[kGroup];
        for (int c = 0; c < kGroup; ++c) {
            const float value = nearest(x[c] * inverse);
            const float low = kBits == 4 ? -8.0f : -127.0f;
            q[c] = static_cast<std::int32_t>(value < low ? low : value > kMost ? kMost : value);
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
