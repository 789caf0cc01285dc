// quantise.hpp 32 fours at a time, with the same bits.
#pragma once

#include <immintrin.h>

#include "quantise.hpp"

namespace selenograph {
namespace {

constexpr int kToNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// Of 64 columns the first `count`, none, 32 or all; lane i holds the i-th four, beyond: 0.
struct Fours {
    __m512 column[kShared];
    __m512 largest;
    __m256i share[kOthers];            // what the others are of the largest

    Fours(const float* x, std::int64_t count, __m512 scale) {
        const __m512 none = _mm512_setzero_ps();
        const __m512 a = count > 0 ? _mm512_loadu_ps(x) : none;
        const __m512 b = count > 0 ? _mm512_loadu_ps(x + 16) : none;
        const __m512 c = count > kGroup ? _mm512_loadu_ps(x + 32) : none;
        const __m512 d = count > kGroup ? _mm512_loadu_ps(x + 48) : none;
        const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
        for (int i = 0; i < kShared; ++i) {
            const __m512i at = _mm512_add_epi32(first, _mm512_set1_epi32(i));
            const __m512 low = _mm512_permutex2var_ps(a, at, b);
            const __m512 high = _mm512_permutex2var_ps(c, at, d);
            column[i] = _mm512_shuffle_f32x4(low, high, 0x44);
        }
        compare(scale);
    }

private:
    void compare(__m512 scale) {
        const __m512 a = _mm512_abs_ps(column[0]), b = _mm512_abs_ps(column[1]);
        const __m512 c = _mm512_abs_ps(column[2]), d = _mm512_abs_ps(column[3]);
        const __m512 first = _mm512_max_ps(a, b), last = _mm512_max_ps(c, d);
        largest = _mm512_max_ps(first, last);
        const __m512 unit = _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_max_ps(largest, scale));
        share[0] = shares(_mm512_min_ps(a, b), unit);
        share[1] = shares(_mm512_min_ps(c, d), unit);
        share[2] = shares(_mm512_min_ps(first, last), unit);
    }
    static __m256i shares(__m512 x, __m512 unit) {
        const __m512 share = _mm512_mul_ps(_mm512_mul_ps(x, unit), _mm512_set1_ps(65536.0f));
        return _mm256_or_si256(_mm512_cvtepi32_epi16(_mm512_cvtps_epi32(share)),
                               _mm256_set1_epi16(1));
    }
};

inline __m512i joined(__m256i low, __m256i high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// best_landing of 32 fours; a lane has 16 bits.
inline __m512i best_landings(__m512i a, __m512i b, __m512i c) {
    const __m512i finest = _mm512_set1_epi16(kFinest);
    __m512i n = finest, chosen = finest, best = _mm512_set1_epi16(-1);
    __m512i miss_a = _mm512_mullo_epi16(a, finest);
    __m512i miss_b = _mm512_mullo_epi16(b, finest);
    __m512i miss_c = _mm512_mullo_epi16(c, finest);
    for (int i = 0; i < kLandings; ++i) {
        const __m512i sum = _mm512_add_epi16(
            _mm512_add_epi16(_mm512_mulhi_epi16(miss_a, miss_a),
                             _mm512_mulhi_epi16(miss_b, miss_b)),
            _mm512_mulhi_epi16(miss_c, miss_c));
        const __m512i loss =
            _mm512_mulhi_epu16(sum, _mm512_set1_epi16(static_cast<short>(kLanding.worth[i])));
        chosen = _mm512_mask_mov_epi16(n, _mm512_cmple_epu16_mask(best, loss), chosen);
        best = _mm512_min_epu16(loss, best);
        n = _mm512_sub_epi16(n, _mm512_set1_epi16(1));
        miss_a = _mm512_sub_epi16(miss_a, a);
        miss_b = _mm512_sub_epi16(miss_b, b);
        miss_c = _mm512_sub_epi16(miss_c, c);
    }
    return chosen;
}

// The multipliers with which the largest land on n.
inline __m512 multipliers(__m512 largest, __m256i n, __m512 scale) {
    constexpr int kUp = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;
    const __m512 full = _mm512_mul_ps(_mm512_set1_ps(kFullest), scale);
    const __m512 least = _mm512_max_ps(
        _mm512_set1_ps(1.0f), _mm512_roundscale_ps(_mm512_div_ps(largest, full), kUp));
    const __m512 landing = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(n)), scale);
    return _mm512_max_ps(least,
                         _mm512_roundscale_ps(_mm512_div_ps(largest, landing), kToNearest));
}

// Two INT8 a lane side by side, as 16 bits.
inline __m256i neighbours(__m512i low, __m512i high) {
    const __m512i byte = _mm512_set1_epi32(0xff);
    return _mm512_cvtepi32_epi16(
        _mm512_or_si512(_mm512_and_si512(low, byte), _mm512_slli_epi32(high, 8)));
}

// The first `count` of 64 columns to their place and their groups' offsets.
inline void put_columns(const Fours& x, std::int64_t count, __m512 m, __m512 scale,
                        const Place<64>& place, std::int32_t* offset) {
    const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_mul_ps(scale, m));
    __m512i q[kShared];
    for (int i = 0; i < kShared; ++i) {
        const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(x.column[i], inverse));
        q[i] = _mm512_max_epi32(_mm512_min_epi32(rounded, _mm512_set1_epi32(127)),
                                _mm512_set1_epi32(-127));
    }
    const __m512i multiplier = _mm512_cvtps_epi32(m);
    const __m256i even = neighbours(q[0], q[2]), odd = neighbours(q[1], q[3]);
    const __m256i narrow = _mm512_cvtepi32_epi16(multiplier);
    const int groups = count > kGroup ? 2 : 1;
    const std::size_t bytes = groups * 16;
    std::memcpy(place.even, &even, bytes);
    std::memcpy(place.odd, &odd, bytes);
    std::memcpy(place.multiplier, &narrow, bytes);
    alignas(64) std::int32_t sum[16];
    _mm512_store_si512(sum, _mm512_mullo_epi32(
        multiplier, _mm512_add_epi32(_mm512_add_epi32(q[0], q[1]), _mm512_add_epi32(q[2], q[3]))));
    for (int group = 0; group < groups; ++group) {
        std::int32_t all = 0;
        for (int i = 0; i < 8; ++i) all += sum[8 * group + i];
        offset[group] = -8 * all;
    }
}

// For blocks of 64 bytes.
inline float quantise_row_avx512(const float* row, std::int64_t columns, std::uint8_t* data,
                                 std::int32_t* offset) {
    // Infinity and NaN leave a trace in the sum of x * 0; max alone would lose a NaN.
    __m512 most = _mm512_setzero_ps(), trace = _mm512_setzero_ps();
    for (std::int64_t c = 0; c < columns; c += 16) {
        const __m512 value = _mm512_loadu_ps(row + c);
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
    const __m512 wide = _mm512_set1_ps(scale);
    for (std::int64_t c = 0; c < columns; c += 128) {
        const std::int64_t left = columns - c;
        const Fours x(row + c, left, wide), y(row + c + 64, left - 64, wide);
        const __m512i n = best_landings(joined(x.share[0], y.share[0]),
                                        joined(x.share[1], y.share[1]),
                                        joined(x.share[2], y.share[2]));
        const __m512 of_x = multipliers(x.largest, _mm512_castsi512_si256(n), wide);
        put_columns(x, left, of_x, wide, {data, c / kShared}, offset + c / kGroup);
        if (left <= 64) break;
        const __m512 of_y = multipliers(y.largest, _mm512_extracti64x4_epi64(n, 1), wide);
        put_columns(y, left - 64, of_y, wide, {data, (c + 64) / kShared}, offset + (c + 64) / kGroup);
    }
    return scale;
}

}  // namespace
}  // namespace selenograph
