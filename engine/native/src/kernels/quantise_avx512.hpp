// quantise.hpp sixteen groups of four columns at a time, with the same bits.
#pragma once

#include <immintrin.h>

#include "quantise.hpp"

namespace selenograph {
namespace {

// 64 columns, or 32 where `half`; lane i of vector c holds column c of the i-th four, beyond: 0.
struct Columns64 {
    __m512 column[kShared];

    Columns64(const float* x, bool half) {
        const __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
        const __m512 c = half ? _mm512_setzero_ps() : _mm512_loadu_ps(x + 32);
        const __m512 d = half ? _mm512_setzero_ps() : _mm512_loadu_ps(x + 48);
        const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
        for (int i = 0; i < kShared; ++i) {
            const __m512i at = _mm512_add_epi32(first, _mm512_set1_epi32(i));
            const __m512 low = _mm512_permutex2var_ps(a, at, b);
            const __m512 high = _mm512_permutex2var_ps(c, at, d);
            column[i] = _mm512_shuffle_f32x4(low, high, 0x44);
        }
    }
};

constexpr int kToNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

inline __m512 best_multipliers(const Columns64& x, __m512 scale) {
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 largest =
        _mm512_max_ps(_mm512_max_ps(_mm512_abs_ps(x.column[0]), _mm512_abs_ps(x.column[1])),
                      _mm512_max_ps(_mm512_abs_ps(x.column[2]), _mm512_abs_ps(x.column[3])));
    const __m512 full = _mm512_mul_ps(_mm512_set1_ps(127.0f), scale);
    constexpr int kUp = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;
    constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
    const __m512 least =
        _mm512_max_ps(one, _mm512_roundscale_ps(_mm512_div_ps(largest, full), kUp));
    const __m512 apart = _mm512_max_ps(
        one, _mm512_roundscale_ps(_mm512_div_ps(least, _mm512_set1_ps(kLeastShare)), kDown));
    __m512 best = _mm512_set1_ps(INFINITY);
    __m512 chosen = least;
    for (int i = 0; i < kCandidates; ++i) {
        const __m512 m =
            _mm512_add_ps(least, _mm512_mul_ps(_mm512_set1_ps(static_cast<float>(i)), apart));
        const __m512 inverse = _mm512_div_ps(one, _mm512_mul_ps(scale, m));
        __m512 error[kShared];
        for (int c = 0; c < kShared; ++c) {
            const __m512 value = _mm512_mul_ps(x.column[c], inverse);
            const __m512 rest = _mm512_sub_ps(value, _mm512_roundscale_ps(value, kToNearest));
            error[c] = _mm512_mul_ps(rest, rest);
        }
        const __m512 sum = _mm512_mul_ps(
            _mm512_add_ps(_mm512_add_ps(error[0], error[1]), _mm512_add_ps(error[2], error[3])),
            _mm512_mul_ps(m, m));
        const __mmask16 better = _mm512_cmp_ps_mask(sum, best, _CMP_LT_OQ);
        best = _mm512_mask_mov_ps(best, better, sum);
        chosen = _mm512_mask_mov_ps(chosen, better, m);
    }
    return chosen;
}

// Two INT8 a lane side by side, as 16 bits.
inline __m256i neighbours(__m512i low, __m512i high) {
    const __m512i byte = _mm512_set1_epi32(0xff);
    return _mm512_cvtepi32_epi16(
        _mm512_or_si512(_mm512_and_si512(low, byte), _mm512_slli_epi32(high, 8)));
}

// For blocks of 64 bytes.
inline float quantise_row_avx512(const float* x, std::int64_t columns, std::uint8_t* data,
                                 std::int32_t* offset) {
    constexpr int kBlock = 64, kColumns = 64;
    // Infinity and NaN leave a trace in the sum of x * 0; max alone would lose a NaN.
    __m512 most = _mm512_setzero_ps(), trace = _mm512_setzero_ps();
    for (std::int64_t c = 0; c < columns; c += 16) {
        const __m512 value = _mm512_loadu_ps(x + c);
        most = _mm512_max_ps(most, _mm512_abs_ps(value));
        trace = _mm512_add_ps(trace, _mm512_mul_ps(value, _mm512_setzero_ps()));
    }
    if (_mm512_cmp_ps_mask(trace, trace, _CMP_UNORD_Q) != 0) return NAN;
    alignas(64) float lane[16];
    _mm512_store_ps(lane, most);
    float largest = lane[0];
    for (float value : lane) largest = larger(largest, value);
    if (largest < kNoValue) return 0.0f;
    const float scale = row_scale(largest);
    const __m512 wide_scale = _mm512_set1_ps(scale);
    for (std::int64_t c = 0; c < columns; c += kColumns) {
        const bool half = columns - c < kColumns;
        const Columns64 here(x + c, half);
        const __m512 m = best_multipliers(here, wide_scale);
        const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_mul_ps(wide_scale, m));
        __m512i q[kShared];
        for (int i = 0; i < kShared; ++i) {
            const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(here.column[i], inverse));
            q[i] = _mm512_max_epi32(_mm512_min_epi32(rounded, _mm512_set1_epi32(127)),
                                    _mm512_set1_epi32(-127));
        }
        const __m512i multiplier = _mm512_cvtps_epi32(m);
        const Place<kBlock> place(data, c / kShared);
        const __m256i even = neighbours(q[0], q[2]), odd = neighbours(q[1], q[3]);
        const __m256i narrow = _mm512_cvtepi32_epi16(multiplier);
        const std::size_t bytes = half ? 16 : 32;
        std::memcpy(place.even, &even, bytes);
        std::memcpy(place.odd, &odd, bytes);
        std::memcpy(place.multiplier, &narrow, bytes);
        alignas(64) std::int32_t sum[16];
        _mm512_store_si512(sum, _mm512_mullo_epi32(
            multiplier, _mm512_add_epi32(_mm512_add_epi32(q[0], q[1]), _mm512_add_epi32(q[2], q[3]))));
        for (int group = 0; group < (half ? 1 : 2); ++group) {
            std::int32_t all = 0;
            for (int i = 0; i < 8; ++i) all += sum[8 * group + i];
            offset[c / kGroup + group] = -8 * all;
        }
    }
    return scale;
}

}  // namespace
}  // namespace selenograph
