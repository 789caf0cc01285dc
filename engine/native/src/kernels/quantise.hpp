// Float32 rows to the form of FastRows.
//
// Four neighbouring columns share an integer multiplier m of the row's scale. Of sixteen multipliers
// from the smallest that does not overflow INT8 upwards, the one is taken whose rounding errors are
// smallest in sum of squares: with so few values that is well below the error of the first (a third
// of the whole layer's error), and it costs a hundredth of the product it serves.
//
// This is the plain form; kernels/quantise_avx2.hpp computes the same bits, eight groups at a time.
#pragma once

#include "../format.hpp"

namespace selenograph {
namespace {

constexpr int kShared = 4;             // columns that share a multiplier
constexpr int kCandidates = 16;
constexpr float kLeastShare = 48.0f;   // candidates lie m / 48 apart, up to 1.31 of the smallest
constexpr float kLargest = 24000.0f;   // the largest smallest multiplier: 1.32 of it is an INT16
constexpr float kNoValue = 1e-30f;     // rows of less are zero

inline float within(float q) { return q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q; }
inline float larger(float a, float b) { return a > b ? a : b; }

// The row's scale for its largest magnitude.
inline float row_scale(float largest) { return largest / (127.0f * kLargest); }

struct Chosen {
    int multiplier;
    int q[kShared];
};

inline Chosen choose(const float* x, float scale) {
    float largest = 0.0f;
    for (int c = 0; c < kShared; ++c) largest = larger(largest, std::fabs(x[c]));
    const float least = larger(1.0f, std::ceil(largest / (127.0f * scale)));
    const float apart = larger(1.0f, std::floor(least / kLeastShare));
    float best = INFINITY;
    float chosen = least;
    for (int i = 0; i < kCandidates; ++i) {
        const float m = least + static_cast<float>(i) * apart;
        const float inverse = 1.0f / (scale * m);
        float error[kShared];
        for (int c = 0; c < kShared; ++c) {
            const float value = x[c] * inverse;
            const float rest = value - std::nearbyint(value);
            error[c] = rest * rest;
        }
        const float sum = ((error[0] + error[1]) + (error[2] + error[3])) * (m * m);
        if (sum < best) {
            best = sum;
            chosen = m;
        }
    }
    Chosen result{static_cast<int>(chosen), {}};
    const float inverse = 1.0f / (scale * chosen);
    for (int c = 0; c < kShared; ++c)
        result.q[c] = static_cast<int>(within(std::nearbyint(x[c] * inverse)));
    return result;
}

// Where things of group-of-four `four` lie in a row of blocks of kBlock bytes.
template <int kBlock>
struct Place {
    std::uint8_t* even;
    std::uint8_t* odd;
    std::uint8_t* multiplier;

    Place(std::uint8_t* data, std::int64_t four) {
        std::uint8_t* block = data + four / (kBlock / 2) * 3 * kBlock;
        even = block + four % (kBlock / 2) * 2;
        odd = even + kBlock;
        multiplier = even + 2 * kBlock;
    }

    // Returns m * (sum of q).
    std::int32_t put(int m, int q0, int q1, int q2, int q3) const {
        even[0] = static_cast<std::uint8_t>(q0);
        even[1] = static_cast<std::uint8_t>(q2);
        odd[0] = static_cast<std::uint8_t>(q1);
        odd[1] = static_cast<std::uint8_t>(q3);
        const auto narrow = static_cast<std::int16_t>(m);
        std::memcpy(multiplier, &narrow, sizeof narrow);
        return m * (q0 + q1 + q2 + q3);
    }
};

template <int kBlock>
float quantise_row(const float* x, std::int64_t columns, std::uint8_t* data, std::int32_t* offset) {
    float largest = 0.0f;
    for (std::int64_t c = 0; c < columns; ++c) {
        if (!std::isfinite(x[c])) return NAN;
        largest = larger(largest, std::fabs(x[c]));
    }
    if (largest < kNoValue) return 0.0f;
    const float scale = row_scale(largest);
    for (std::int64_t g = 0; g < columns / kGroup; ++g) {
        std::int32_t sum = 0;
        for (int i = 0; i < kGroup / kShared; ++i) {
            const std::int64_t four = g * (kGroup / kShared) + i;
            const Chosen c = choose(x + four * kShared, scale);
            sum += Place<kBlock>(data, four).put(c.multiplier, c.q[0], c.q[1], c.q[2], c.q[3]);
        }
        offset[g] = -8 * sum;
    }
    return scale;
}

}  // namespace
}  // namespace selenograph
