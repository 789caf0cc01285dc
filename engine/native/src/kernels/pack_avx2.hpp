// pack.hpp a group at a time, with the same bits.
#pragma once

#include <immintrin.h>

#include "pack.hpp"

namespace selenograph {
namespace {

// The largest magnitude's bits in 32 bf16: as integers without their sign they are in order.
inline std::uint16_t largest_bits(__m256i a, __m256i b) {
    const __m256i magnitude = _mm256_set1_epi16(0x7fff);
    const __m256i most =
        _mm256_max_epu16(_mm256_and_si256(a, magnitude), _mm256_and_si256(b, magnitude));
    const __m128i half =
        _mm_max_epu16(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    const __m128i turned = _mm_xor_si128(half, _mm_set1_epi16(-1));   // there is only a smallest
    return static_cast<std::uint16_t>(~_mm_cvtsi128_si32(_mm_minpos_epu16(turned)));
}

// 16 bf16 to int16 within [low, high], in order.
inline __m256i steps(__m256i x, __m256 inverse, int low, int high) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256 first = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, x));
    const __m256 last = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, x));
    const __m256i q = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(first, inverse)),
                                         _mm256_cvtps_epi32(_mm256_mul_ps(last, inverse)));
    return _mm256_max_epi16(_mm256_min_epi16(q, _mm256_set1_epi16(static_cast<short>(high))),
                            _mm256_set1_epi16(static_cast<short>(low)));
}

// 16 int16 in -8 .. 7 to eight bytes of two nibbles, each in 32 bits.
inline __m256i nibbles(__m256i q) {
    const __m256i shifted = _mm256_add_epi16(q, _mm256_set1_epi16(8));
    const __m256i both = _mm256_or_si256(shifted, _mm256_srli_epi32(shifted, 12));
    return _mm256_and_si256(both, _mm256_set1_epi32(0xff));
}

template <int kBits>
void pack_row_avx2(const std::uint8_t* row, std::int64_t columns, std::uint8_t* data,
                   std::uint8_t* scales) {
    constexpr int kMost = kBits == 4 ? 7 : 127, kLeast = kBits == 4 ? -8 : -127;
    for (std::int64_t g = 0; g < columns / kGroup; ++g) {
        const auto* from = reinterpret_cast<const __m256i*>(row + g * kGroup * 2);
        const __m256i a = _mm256_loadu_si256(from), b = _mm256_loadu_si256(from + 1);
        const Step step = step_for(largest_bits(a, b), kMost);
        std::memcpy(scales + 2 * g, &step.scale, 2);
        const __m256 inverse = _mm256_set1_ps(step.inverse);
        const __m256i qa = steps(a, inverse, kLeast, kMost), qb = steps(b, inverse, kLeast, kMost);
        if constexpr (kBits == 4) {
            const __m256i words = _mm256_packus_epi32(nibbles(qa), nibbles(qb));
            const __m256i bytes = _mm256_packus_epi16(words, words);
            const __m128i out = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes),
                                                   _mm256_extracti128_si256(bytes, 1));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(data + g * kGroup / 2), out);
        } else {
            const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(qa, qb), 0xd8);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(data + g * kGroup), bytes);
        }
    }
}

}  // namespace
}  // namespace selenograph
