// Float32 rows to the form of FastRows.
//
// Four neighbouring columns share an integer multiplier m of the row's scale. It is chosen so that the
// largest of the four lands on a whole number n, without an error of its own; of the n from 127 down
// to 64 the one is taken whose other three rounding errors are smallest in sum of squares. Any
// multiplier up to twice the smallest is near one of these, and with so few values the best is well
// below the error of the first.
//
// The choice is made in 16 bits: a column is its share of the largest in 2^-16, and n times that,
// taken as an INT16, is by how much it misses a whole number.
//
// This is the plain form; kernels/quantise_avx2.hpp computes the same bits, sixteen fours at a time.
#pragma once

#include "../format.hpp"

namespace selenograph {
namespace {

constexpr int kShared = 4;             // columns that share a multiplier
constexpr int kOthers = kShared - 1;
constexpr int kFinest = 127;           // what the largest of them may become, and
constexpr int kCoarsest = 64;
constexpr int kLandings = kFinest - kCoarsest + 1;
constexpr float kLargest = 16000.0f;   // m at kFinest of the row's largest: twice it is an INT16
constexpr float kFullest = 127.49f;    // what rounds to an INT8 yet
constexpr float kNoValue = 1e-30f;     // rows of less are zero

inline float within(float q) { return q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q; }
inline float larger(float a, float b) { return a > b ? a : b; }
inline float smaller(float a, float b) { return a < b ? a : b; }

// The row's scale for its largest magnitude.
inline float row_scale(float largest) { return largest / (127.0f * kLargest); }

// Landing i is on kFinest - i. A square of steps is worth 1 / n^2 of the largest: in 2^-16 of the most.
struct Landings {
    std::uint16_t n[kLandings] = {}, worth[kLandings] = {};
    constexpr Landings() {
        for (int i = 0; i < kLandings; ++i) {
            n[i] = static_cast<std::uint16_t>(kFinest - i);
            worth[i] = static_cast<std::uint16_t>(65535 * kCoarsest * kCoarsest / (n[i] * n[i]));
        }
    }
};
constexpr Landings kLanding;

// An odd share never misses by just half, which has no counterpart above zero. The product of two
// floats first: with 2^16 the inverse of a tiny number would be infinite.
inline std::uint16_t share_of(float x, float inverse) {
    const float share = x * inverse * 65536.0f;
    return static_cast<std::uint16_t>(static_cast<std::int32_t>(std::nearbyint(share)) | 1);
}

inline int best_landing(const std::uint16_t (&share)[kOthers]) {
    std::uint16_t loss[kLandings];
    for (int i = 0; i < kLandings; ++i) {
        std::uint16_t sum = 0;
        for (int c = 0; c < kOthers; ++c) {
            const auto miss = static_cast<std::int16_t>(
                static_cast<std::uint16_t>(kLanding.n[i] * share[c]));
            sum = static_cast<std::uint16_t>(sum + ((miss * miss) >> 16));
        }
        const std::uint32_t weighted = static_cast<std::uint32_t>(sum) * kLanding.worth[i];
        loss[i] = static_cast<std::uint16_t>(weighted >> 16);
    }
    int best = 0;
    for (int i = 1; i < kLandings; ++i)
        if (loss[i] < loss[best]) best = i;
    return kLanding.n[best];
}

struct Chosen {
    int multiplier;
    int q[kShared];
};

inline Chosen choose(const float* x, float scale) {
    float size[kShared];
    for (int c = 0; c < kShared; ++c) size[c] = std::fabs(x[c]);
    const float first = larger(size[0], size[1]), last = larger(size[2], size[3]);
    const float largest = larger(first, last);
    const float unit = 1.0f / larger(largest, scale);
    const int n = best_landing({share_of(smaller(size[0], size[1]), unit),
                                share_of(smaller(size[2], size[3]), unit),
                                share_of(smaller(first, last), unit)});
    const float least = larger(1.0f, std::ceil(largest / (kFullest * scale)));
    const float m = larger(least, std::nearbyint(largest / (static_cast<float>(n) * scale)));
    Chosen result{static_cast<int>(m), {}};
    const float inverse = 1.0f / (scale * m);
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
