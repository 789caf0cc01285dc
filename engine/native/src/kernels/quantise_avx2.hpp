// quantise.hpp sixteen fours at a time, with the same bits.
#pragma once

#include <immintrin.h>

#include "quantise.hpp"

namespace selenograph {
namespace {

// 32 columns; lane i holds group kLane[i] of them, vector c its column c.
struct Columns {
    static constexpr int kLane[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    __m256 column[kShared];

    explicit Columns(const float* x) {
        const __m256 a = _mm256_loadu_ps(x), b = _mm256_loadu_ps(x + 8);
        const __m256 c = _mm256_loadu_ps(x + 16), d = _mm256_loadu_ps(x + 24);
        const __m256 ab0 = _mm256_unpacklo_ps(a, b), ab1 = _mm256_unpackhi_ps(a, b);
        const __m256 cd0 = _mm256_unpacklo_ps(c, d), cd1 = _mm256_unpackhi_ps(c, d);
        column[0] = _mm256_shuffle_ps(ab0, cd0, 0x44);
        column[1] = _mm256_shuffle_ps(ab0, cd0, 0xee);
        column[2] = _mm256_shuffle_ps(ab1, cd1, 0x44);
        column[3] = _mm256_shuffle_ps(ab1, cd1, 0xee);
    }
};

inline __m256 magnitude(__m256 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }

inline float largest_lane(__m256 x) {
    alignas(32) float lane[8];
    _mm256_store_ps(lane, x);
    float most = lane[0];
    for (float value : lane) most = larger(most, value);
    return most;
}

// best_landing of sixteen fours; a lane has 16 bits.
inline __m256i best_landings(__m256i a, __m256i b, __m256i c) {
    const __m256i finest = _mm256_set1_epi16(kFinest);
    __m256i n = finest, chosen = finest, best = _mm256_set1_epi16(-1);
    __m256i miss_a = _mm256_mullo_epi16(a, finest);
    __m256i miss_b = _mm256_mullo_epi16(b, finest);
    __m256i miss_c = _mm256_mullo_epi16(c, finest);
    for (int i = 0; i < kLandings; ++i) {
        const __m256i sum = _mm256_add_epi16(
            _mm256_add_epi16(_mm256_mulhi_epi16(miss_a, miss_a),
                             _mm256_mulhi_epi16(miss_b, miss_b)),
            _mm256_mulhi_epi16(miss_c, miss_c));
        const __m256i worth = _mm256_set1_epi16(static_cast<short>(kLanding.worth[i]));
        const __m256i least = _mm256_min_epu16(best, _mm256_mulhi_epu16(sum, worth));
        chosen = _mm256_blendv_epi8(n, chosen, _mm256_cmpeq_epi16(least, best));
        best = least;
        n = _mm256_sub_epi16(n, _mm256_set1_epi16(1));
        miss_a = _mm256_sub_epi16(miss_a, a);
        miss_b = _mm256_sub_epi16(miss_b, b);
        miss_c = _mm256_sub_epi16(miss_c, c);
    }
    return chosen;
}

inline __m256i shares(__m256 x, __m256 unit) {
    const __m256 share = _mm256_mul_ps(_mm256_mul_ps(x, unit), _mm256_set1_ps(65536.0f));
    return _mm256_and_si256(_mm256_or_si256(_mm256_cvtps_epi32(share), _mm256_set1_epi32(1)),
                            _mm256_set1_epi32(0xffff));
}

// A group's fours, a lane each: their largest, and what the others are of it.
struct Fours {
    __m256 largest;
    __m256i share[kOthers];

    Fours(const Columns& x, __m256 scale) {
        const __m256 a = magnitude(x.column[0]), b = magnitude(x.column[1]);
        const __m256 c = magnitude(x.column[2]), d = magnitude(x.column[3]);
        const __m256 first = _mm256_max_ps(a, b), last = _mm256_max_ps(c, d);
        largest = _mm256_max_ps(first, last);
        const __m256 unit = _mm256_div_ps(_mm256_set1_ps(1.0f), _mm256_max_ps(largest, scale));
        share[0] = shares(_mm256_min_ps(a, b), unit);
        share[1] = shares(_mm256_min_ps(c, d), unit);
        share[2] = shares(_mm256_min_ps(first, last), unit);
    }
};

// The multipliers with which the largest land on n.
inline __m256 multipliers(__m256 largest, __m256i n, __m256 scale) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    const __m256 full = _mm256_mul_ps(_mm256_set1_ps(kFullest), scale);
    const __m256 least =
        _mm256_max_ps(_mm256_set1_ps(1.0f), _mm256_ceil_ps(_mm256_div_ps(largest, full)));
    const __m256 landing = _mm256_mul_ps(_mm256_cvtepi32_ps(n), scale);
    return _mm256_max_ps(least, _mm256_round_ps(_mm256_div_ps(largest, landing), kNearest));
}

// 32 columns with the multipliers m to group g of a row. Returns the group's offset.
template <int kBlock>
std::int32_t put_group(const Columns& x, __m256 m, __m256 scale, std::uint8_t* data,
                       std::int64_t g) {
    const __m256 inverse = _mm256_div_ps(_mm256_set1_ps(1.0f), _mm256_mul_ps(scale, m));
    alignas(32) std::int32_t multiplier[8];
    alignas(32) std::int32_t q[kShared][8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(multiplier), _mm256_cvtps_epi32(m));
    for (int c = 0; c < kShared; ++c) {
        const __m256i rounded = _mm256_cvtps_epi32(_mm256_mul_ps(x.column[c], inverse));
        const __m256i held = _mm256_max_epi32(_mm256_min_epi32(rounded, _mm256_set1_epi32(127)),
                                              _mm256_set1_epi32(-127));
        _mm256_store_si256(reinterpret_cast<__m256i*>(q[c]), held);
    }
    std::int32_t sum = 0;
    for (int i = 0; i < 8; ++i)
        sum += Place<kBlock>(data, g * 8 + Columns::kLane[i])
                   .put(multiplier[i], q[0][i], q[1][i], q[2][i], q[3][i]);
    return -8 * sum;
}

template <int kBlock>
float quantise_row_avx2(const float* row, std::int64_t columns, std::uint8_t* data,
                        std::int32_t* offset) {
    // Infinity and NaN leave a trace in the sum of x * 0; max alone would lose a NaN.
    __m256 most = _mm256_setzero_ps(), trace = _mm256_setzero_ps();
    for (std::int64_t c = 0; c < columns; c += 8) {
        const __m256 value = _mm256_loadu_ps(row + c);
        most = _mm256_max_ps(most, magnitude(value));
        trace = _mm256_add_ps(trace, _mm256_mul_ps(value, _mm256_setzero_ps()));
    }
    if (_mm256_movemask_ps(_mm256_cmp_ps(trace, trace, _CMP_UNORD_Q)) != 0) return NAN;
    const float largest = largest_lane(most);
    if (largest < kNoValue) return 0.0f;
    const float scale = row_scale(largest);
    const __m256 wide = _mm256_set1_ps(scale);
    const std::int64_t groups = columns / kGroup;
    for (std::int64_t g = 0; g < groups; g += 2) {
        const std::int64_t next = g + 1 < groups ? g + 1 : g;
        const Columns x(row + g * kGroup), y(row + next * kGroup);
        const Fours of_x(x, wide), of_y(y, wide);
        __m256i share[kOthers];    // packing and unpacking go by halves alike
        for (int c = 0; c < kOthers; ++c)
            share[c] = _mm256_packus_epi32(of_x.share[c], of_y.share[c]);
        const __m256i n = best_landings(share[0], share[1], share[2]);
        const __m256i x_n = _mm256_unpacklo_epi16(n, _mm256_setzero_si256());
        const __m256i y_n = _mm256_unpackhi_epi16(n, _mm256_setzero_si256());
        const __m256 x_m = multipliers(of_x.largest, x_n, wide);
        offset[g] = put_group<kBlock>(x, x_m, wide, data, g);
        if (next == g) break;      // an odd one, taken twice
        const __m256 y_m = multipliers(of_y.largest, y_n, wide);
        offset[next] = put_group<kBlock>(y, y_m, wide, data, next);
    }
    return scale;
}

}  // namespace
}  // namespace selenograph
