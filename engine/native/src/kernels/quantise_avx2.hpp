// quantise.hpp eight groups of four columns at a time, with the same bits.
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

inline __m256 best_multipliers(const Columns& x, __m256 scale) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 largest =
        _mm256_max_ps(_mm256_max_ps(magnitude(x.column[0]), magnitude(x.column[1])),
                      _mm256_max_ps(magnitude(x.column[2]), magnitude(x.column[3])));
    const __m256 full = _mm256_mul_ps(_mm256_set1_ps(127.0f), scale);
    const __m256 least = _mm256_max_ps(one, _mm256_ceil_ps(_mm256_div_ps(largest, full)));
    const __m256 apart = _mm256_max_ps(
        one, _mm256_floor_ps(_mm256_div_ps(least, _mm256_set1_ps(kLeastShare))));
    __m256 best = _mm256_set1_ps(INFINITY);
    __m256 chosen = least;
    for (int i = 0; i < kCandidates; ++i) {
        const __m256 m =
            _mm256_add_ps(least, _mm256_mul_ps(_mm256_set1_ps(static_cast<float>(i)), apart));
        const __m256 inverse = _mm256_div_ps(one, _mm256_mul_ps(scale, m));
        __m256 error[kShared];
        for (int c = 0; c < kShared; ++c) {
            const __m256 value = _mm256_mul_ps(x.column[c], inverse);
            const __m256 rest = _mm256_sub_ps(value, _mm256_round_ps(value, kNearest));
            error[c] = _mm256_mul_ps(rest, rest);
        }
        const __m256 sum = _mm256_mul_ps(
            _mm256_add_ps(_mm256_add_ps(error[0], error[1]), _mm256_add_ps(error[2], error[3])),
            _mm256_mul_ps(m, m));
        const __m256 better = _mm256_cmp_ps(sum, best, _CMP_LT_OQ);
        best = _mm256_blendv_ps(best, sum, better);
        chosen = _mm256_blendv_ps(chosen, m, better);
    }
    return chosen;
}

template <int kBlock>
float quantise_row_avx2(const float* x, std::int64_t columns, std::uint8_t* data,
                        std::int32_t* offset) {
    // Infinity and NaN leave a trace in the sum of x * 0; max alone would lose a NaN.
    __m256 most = _mm256_setzero_ps(), trace = _mm256_setzero_ps();
    for (std::int64_t c = 0; c < columns; c += 8) {
        const __m256 value = _mm256_loadu_ps(x + c);
        most = _mm256_max_ps(most, magnitude(value));
        trace = _mm256_add_ps(trace, _mm256_mul_ps(value, _mm256_setzero_ps()));
    }
    if (_mm256_movemask_ps(_mm256_cmp_ps(trace, trace, _CMP_UNORD_Q)) != 0) return NAN;
    const float largest = largest_lane(most);
    if (largest < kNoValue) return 0.0f;
    const float scale = row_scale(largest);
    const __m256 wide_scale = _mm256_set1_ps(scale);
    for (std::int64_t g = 0; g < columns / kGroup; ++g) {
        const Columns here(x + g * kGroup);
        const __m256 m = best_multipliers(here, wide_scale);
        const __m256 inverse = _mm256_div_ps(_mm256_set1_ps(1.0f), _mm256_mul_ps(wide_scale, m));
        alignas(32) std::int32_t multiplier[8];
        alignas(32) std::int32_t q[kShared][8];
        _mm256_store_si256(reinterpret_cast<__m256i*>(multiplier), _mm256_cvtps_epi32(m));
        for (int c = 0; c < kShared; ++c) {
            const __m256i rounded = _mm256_cvtps_epi32(_mm256_mul_ps(here.column[c], inverse));
            const __m256i held = _mm256_max_epi32(
                _mm256_min_epi32(rounded, _mm256_set1_epi32(127)), _mm256_set1_epi32(-127));
            _mm256_store_si256(reinterpret_cast<__m256i*>(q[c]), held);
        }
        std::int32_t sum = 0;
        for (int i = 0; i < 8; ++i)
            sum += Place<kBlock>(data, g * 8 + Columns::kLane[i])
                       .put(multiplier[i], q[0][i], q[1][i], q[2][i], q[3][i]);
        offset[g] = -8 * sum;
    }
    return scale;
}

}  // namespace
}  // namespace selenograph
