// Stands in for the compiler's <immintrin.h>: the same intrinsics as plain C++ on arrays, so that the
// sources of an instruction set run where the processor has none of it. SIMDe (Debian's
// libsimde-dev) has most of them; those it lacks follow, and the tiles of AMX in tiles.hpp.
#pragma once

#define SIMDE_NO_NATIVE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include <cmath>
#include <cstdint>
#include <cstring>

// out[i] = change(in[i]) for the elements of `Result`.
template <class Result, class Out, class In, class Argument, class Change>
static inline Result emulated_each(Argument argument, Change change) {
    constexpr int kCount = sizeof(Result) / sizeof(Out);
    static_assert(sizeof(Argument) == kCount * sizeof(In), "as many elements");
    In in[kCount];
    Out out[kCount];
    std::memcpy(in, &argument, sizeof in);
    for (int i = 0; i < kCount; ++i) out[i] = change(in[i]);
    Result result;
    std::memcpy(&result, out, sizeof result);
    return result;
}

static inline __m512i emulated_cvtepi8_epi32(__m128i a) {
    return emulated_each<__m512i, std::int32_t, std::int8_t>(a, [](auto x) { return x; });
}
static inline __m512i emulated_cvtepu8_epi32(__m128i a) {
    return emulated_each<__m512i, std::int32_t, std::uint8_t>(a, [](auto x) { return x; });
}
static inline __m512i emulated_cvtepu16_epi32(__m256i a) {
    return emulated_each<__m512i, std::int32_t, std::uint16_t>(a, [](auto x) { return x; });
}
static inline __m512 emulated_cvtepi32_ps(__m512i a) {
    return emulated_each<__m512, float, std::int32_t>(a, [](auto x) { return static_cast<float>(x); });
}
static inline __m512i emulated_cvtps_epi32(__m512 a) {
    return emulated_each<__m512i, std::int32_t, float>(a, [](float x) {
        const float whole = std::nearbyint(x);
        const bool fits = whole >= -2147483648.0f && whole < 2147483648.0f;
        return fits ? static_cast<std::int32_t>(whole) : INT32_MIN;
    });
}

// To the nearest whole number, halves to even ones; SIMDe's goes away from zero.
static inline __m256 emulated_round_ps(__m256 a) {
    return emulated_each<__m256, float, float>(a, [](float x) { return std::nearbyint(x); });
}

static inline __m256i emulated_cvtepi32_epi16(__m512i a) {
    return emulated_each<__m256i, std::int16_t, std::int32_t>(
        a, [](auto x) { return static_cast<std::int16_t>(x); });
}

// combine() of unsigned 16-bit elements: SIMDe's sums and differences are signed, and may overflow.
template <class Vector, class Combine>
static inline Vector emulated_words(Vector a, Vector b, Combine combine) {
    constexpr int kCount = sizeof(Vector) / 2;
    std::uint16_t first[kCount], second[kCount];
    std::memcpy(first, &a, sizeof first);
    std::memcpy(second, &b, sizeof second);
    for (int i = 0; i < kCount; ++i)
        first[i] = static_cast<std::uint16_t>(combine(std::uint32_t{first[i]}, std::uint32_t{second[i]}));
    std::memcpy(&a, first, sizeof first);
    return a;
}
static inline __m512i emulated_mulhi_epu16(__m512i a, __m512i b) {
    return emulated_words(a, b, [](auto x, auto y) { return x * y >> 16; });
}
template <class Vector>
static inline Vector emulated_add_epi16(Vector a, Vector b) {
    return emulated_words(a, b, [](auto x, auto y) { return x + y; });
}
template <class Vector>
static inline Vector emulated_sub_epi16(Vector a, Vector b) {
    return emulated_words(a, b, [](auto x, auto y) { return x - y; });
}

static inline __m512 emulated_maskz_loadu_ps(simde__mmask16 mask, const void* from) {
    float out[16] = {};
    for (int i = 0; i < 16; ++i)
        if (mask >> i & 1) std::memcpy(out + i, static_cast<const char*>(from) + 4 * i, 4);
    __m512 result;
    std::memcpy(&result, out, sizeof result);
    return result;
}
static inline void emulated_mask_storeu_ps(void* to, simde__mmask16 mask, __m512 a) {
    float in[16];
    std::memcpy(in, &a, sizeof in);
    for (int i = 0; i < 16; ++i)
        if (mask >> i & 1) std::memcpy(static_cast<char*>(to) + 4 * i, in + i, 4);
}

static inline __m256i emulated_maskz_loadu_epi16(std::uint16_t mask, const void* from) {
    std::uint16_t out[16] = {};
    for (int i = 0; i < 16; ++i)
        if (mask >> i & 1) std::memcpy(out + i, static_cast<const char*>(from) + 2 * i, 2);
    __m256i result;
    std::memcpy(&result, out, sizeof result);
    return result;
}

#define _mm256_maskz_loadu_epi16 emulated_maskz_loadu_epi16
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16
#define _mm512_mulhi_epu16 emulated_mulhi_epu16
// Where SIMDe's alias is missing or wrong.
#define _mm512_shuffle_f32x4 simde_mm512_shuffle_f32x4
#undef _mm256_round_ps
#define _mm256_round_ps(a, nearest) emulated_round_ps(a)
#undef _mm256_add_epi16
#define _mm256_add_epi16 emulated_add_epi16
#undef _mm512_add_epi16
#define _mm512_add_epi16 emulated_add_epi16
#undef _mm256_sub_epi16
#define _mm256_sub_epi16 emulated_sub_epi16
#undef _mm512_sub_epi16
#define _mm512_sub_epi16 emulated_sub_epi16
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif
using __mmask16 = simde__mmask16;
// AVX-VNNI's encodings of what AVX-512 VNNI does on 256 bits.
#define _mm256_dpwssd_avx_epi32 _mm256_dpwssd_epi32
#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32

#include "tiles.hpp"
