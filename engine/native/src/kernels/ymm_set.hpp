// The vector set of AVX2 with FMA. AVX-VNNI changes one operation of it: MaddTo, which gives
// add(Ints, Pairs' int16, m).
#pragma once

#include <immintrin.h>

#include "../format.hpp"
#include "avx2_octet.hpp"
#include "hold.hpp"
#include "pairwise.hpp"

namespace selenograph {
namespace {

template <class MaddTo>
struct YmmSet : Pairwise<YmmSet<MaddTo>> {
    static constexpr int kWidth = 8;
    static constexpr int kAbreast = 2;
    static constexpr int kTile = 4;
    static constexpr bool kKeeps = false;
    static constexpr int kSums = 12;
    static constexpr int kPanelFrom = 9;
    static constexpr int kRows = 2;
    static constexpr int kAhead = 4096;
    static constexpr int kRowsAhead = 8192;
    using Floats = __m256;
    using Ints = __m256i;
    using Bytes = __m256i;

#ifndef SELENOGRAPH_EMULATED
    template <int Width, int Tile>
    static constexpr bool kByHand = MaddTo::kTwoSteps && Width == 2 && Tile == 4;
    template <int kPanel, int kToken>
    static void octet(Ints (&sum)[2][4], const std::uint8_t* weights, const std::uint8_t* x) {
        octet_2x4<kPanel, kToken>(sum, weights, x);
    }
#endif

    struct Pairs {  // int16, told from Bytes and Ints by its type
        __m256i v;
    };

    static void prefetch(const std::uint8_t* at) {
        _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0);
    }

    static Floats zero() { return _mm256_setzero_ps(); }
    static Floats splat(float value) { return _mm256_set1_ps(value); }
    static Ints splat_int(std::int32_t value) { return _mm256_set1_epi32(value); }
    static Floats load(const float* at) { return _mm256_loadu_ps(at); }
    static void store(float* at, Floats a) { _mm256_storeu_ps(at, a); }
    static Bytes load_bytes(const std::uint8_t* at) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    }
    static void store_bytes(std::uint8_t* at, Bytes a) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), a);
    }
    static Ints load_ints(const std::int32_t* at) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    }
    static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
    static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
    static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
    static Floats clamp(Floats a, float low, float high) {
        return _mm256_min_ps(_mm256_max_ps(a, splat(low)), splat(high));
    }
    static Floats nearest(Floats a) {
        return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    static Floats power_of_two(Floats whole) {
        const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(whole), splat_int(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
    }
    static Floats to_float(Ints a) { return _mm256_cvtepi32_ps(a); }
    static float sum(Floats a) {
        __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        half = _mm_add_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
    }

    static Bytes low(Bytes a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
    static Bytes high(Bytes a) { return low(_mm256_srli_epi16(a, 4)); }
    static Pairs multiply(Bytes weights, Bytes x) { return {_mm256_maddubs_epi16(weights, x)}; }
    static Pairs add(Pairs a, Pairs b) { return {_mm256_add_epi16(a.v, b.v)}; }
    static Ints madd(Pairs a, Bytes by) { return _mm256_madd_epi16(a.v, by); }
    static void madd_to(Ints& sum, Pairs a, Bytes by) {
        sum = MaddTo::add(sum, a.v, by);
        hold(sum);
    }
    static void hold(__m256i& value) { hold_vector(value); }
    static void hold(__m256& value) { hold_vector(value); }
    static Bytes splat4(const std::uint8_t* at) {
        std::int32_t four;
        std::memcpy(&four, at, sizeof four);
        return _mm256_set1_epi32(four);
    }

    // 8 rows of 32 bytes as an 8 x 8 matrix of 32-bit words, transposed.
    static void turn(const std::uint8_t* const* rows, std::int64_t at, Bytes* out) {
        __m256i r[8], pair[8], quad[8];
        for (int i = 0; i < 8; ++i) r[i] = load_bytes(rows[i] + at);
        for (int i = 0; i < 4; ++i) {
            pair[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
            pair[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
        }
        for (int i = 0; i < 2; ++i) {
            quad[4 * i] = _mm256_unpacklo_epi64(pair[4 * i], pair[4 * i + 2]);
            quad[4 * i + 1] = _mm256_unpackhi_epi64(pair[4 * i], pair[4 * i + 2]);
            quad[4 * i + 2] = _mm256_unpacklo_epi64(pair[4 * i + 1], pair[4 * i + 3]);
            quad[4 * i + 3] = _mm256_unpackhi_epi64(pair[4 * i + 1], pair[4 * i + 3]);
        }
        for (int i = 0; i < 4; ++i) {
            out[i] = _mm256_permute2x128_si256(quad[i], quad[i + 4], 0x20);
            out[i + 4] = _mm256_permute2x128_si256(quad[i], quad[i + 4], 0x31);
        }
    }

    static Floats load_bf16(const std::uint8_t* at) {
        const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    static Floats load_bf16(const std::uint8_t* at, int count) {
        const __m128i pairs = _mm_cmpgt_epi32(_mm_set1_epi32(count / 2), _mm_setr_epi32(0, 1, 2, 3));
        __m128i bits = _mm_maskload_epi32(reinterpret_cast<const int*>(at), pairs);
        if (count % 2 == 1) {
            alignas(16) std::uint16_t last[kWidth] = {};
            std::memcpy(last + count - 1, at + 2 * (count - 1), 2);
            bits = _mm_or_si128(bits, _mm_load_si128(reinterpret_cast<const __m128i*>(last)));
        }
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    static Floats even_bf16(const std::uint8_t* at) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(load_bytes(at), 16));
    }
    static Floats odd_bf16(const std::uint8_t* at) {
        return _mm256_castsi256_ps(_mm256_and_si256(load_bytes(at), splat_int(-65536)));
    }
    // Block i of four holds groups 2i and 2i + 1, one in each 128 bits.
    static Floats by_lane(Floats scales) {
        return _mm256_permutevar8x32_ps(scales, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    }
    template <int I>
    static Floats pick(Floats scales) {
        return _mm256_permute_ps(scales, I * 0x55);
    }

    static Floats load_int8(const std::uint8_t* at) {
        return widen8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)));
    }

    template <Format F>
    static void widen(const std::uint8_t* group, Floats* out) {
        if constexpr (F == Format::int4) {
            const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(group));
            const __m128i mask = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
            const __m128i low = _mm_sub_epi8(_mm_and_si128(both, mask), eight);
            const __m128i high = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(both, 4), mask), eight);
            const __m128i first = _mm_unpacklo_epi8(low, high), last = _mm_unpackhi_epi8(low, high);
            out[0] = widen8(first);
            out[1] = widen8(_mm_srli_si128(first, 8));
            out[2] = widen8(last);
            out[3] = widen8(_mm_srli_si128(last, 8));
        } else {
            for (int i = 0; i < 4; ++i) {
                if constexpr (F == Format::bf16) {
                    out[i] = load_bf16(group + 16 * i);
                } else {
                    const __m128i eight =
                        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(group + 8 * i));
                    out[i] = F == Format::int8 ? widen8(eight) : widen_fp8(eight);
                }
            }
        }
    }

private:
    static Floats widen8(__m128i lowest8) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(lowest8));
    }
    static Floats widen_fp8(__m128i lowest8) {
        const __m256i bits = _mm256_cvtepu8_epi32(lowest8);
        const __m256i rest = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f));
        const __m256i sign = _mm256_slli_epi32(_mm256_xor_si256(bits, rest), 24);
        const __m256i nan = _mm256_cmpeq_epi32(rest, _mm256_set1_epi32(0x7f));  // all ones is NaN
        const __m256i value = _mm256_or_si256(sign, _mm256_slli_epi32(rest, 20));
        return _mm256_castsi256_ps(_mm256_or_si256(value, nan));
    }
};

}  // namespace
}  // namespace selenograph
