// The vector set of AVX-512 (F, BW, VL, DQ). VNNI changes one operation of it: MaddTo, as in
// ymm_set.hpp.
#pragma once

#include <immintrin.h>

#include "../format.hpp"
#include "hold.hpp"
#include "pairwise.hpp"

namespace selenograph {
namespace {

template <class MaddTo>
struct ZmmSet : Pairwise<ZmmSet<MaddTo>> {
    static constexpr int kWidth = 16;
    static constexpr int kAbreast = 2;
    static constexpr int kTile = 4;
    static constexpr bool kKeeps = true;
    static constexpr int kSums = 24;
    static constexpr int kPanelFrom = 24;
    static constexpr int kRows = 4;
    static constexpr int kAhead = 6144;
    static constexpr int kRowsAhead = 10240;
    using Floats = __m512;
    using Ints = __m512i;
    using Bytes = __m512i;

    struct Pairs {  // int16, told from Bytes and Ints by its type
        __m512i v;
    };

    static void prefetch(const std::uint8_t* at) {
        _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0);
    }

    static Floats zero() { return _mm512_setzero_ps(); }
    static Floats splat(float value) { return _mm512_set1_ps(value); }
    static Ints splat_int(std::int32_t value) { return _mm512_set1_epi32(value); }
    static Floats load(const float* at) { return _mm512_loadu_ps(at); }
    static void store(float* at, Floats a) { _mm512_storeu_ps(at, a); }
    static Bytes load_bytes(const std::uint8_t* at) { return _mm512_loadu_si512(at); }
    static void store_bytes(std::uint8_t* at, Bytes a) { _mm512_storeu_si512(at, a); }
    static Ints load_ints(const std::int32_t* at) { return _mm512_loadu_si512(at); }
    static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
    static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
    static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
    static Floats clamp(Floats a, float low, float high) {
        return _mm512_min_ps(_mm512_max_ps(a, splat(low)), splat(high));
    }
    static Floats nearest(Floats a) {
        return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    static Floats power_of_two(Floats whole) {
        const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(whole), splat_int(127));
        return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
    }
    static Floats to_float(Ints a) { return _mm512_cvtepi32_ps(a); }
    static float sum(Floats a) {
        const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
        const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), upper);
        __m128 half = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        half = _mm_add_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
    }

    static Bytes low(Bytes a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
    static Bytes high(Bytes a) { return low(_mm512_srli_epi16(a, 4)); }
    static Pairs multiply(Bytes weights, Bytes x) { return {_mm512_maddubs_epi16(weights, x)}; }
    static Pairs add(Pairs a, Pairs b) { return {_mm512_add_epi16(a.v, b.v)}; }
    static Ints madd(Pairs a, Bytes by) { return _mm512_madd_epi16(a.v, by); }
    static void madd_to(Ints& sum, Pairs a, Bytes by) {
        sum = MaddTo::add(sum, a.v, by);
        hold(sum);
    }
    static void hold(__m512i& value) { hold_vector(value); }
    static void hold(__m512& value) { hold_vector(value); }
    static Bytes splat4(const std::uint8_t* at) {
        std::int32_t four;
        std::memcpy(&four, at, sizeof four);
        return _mm512_set1_epi32(four);
    }

    // 16 rows of 64 bytes as a 16 x 16 matrix of 32-bit words, transposed.
    static void turn(const std::uint8_t* const* rows, std::int64_t at, Bytes* out) {
        __m512i r[16], pair[16], quad[16];
        for (int i = 0; i < 16; ++i) r[i] = load_bytes(rows[i] + at);
        for (int i = 0; i < 16; i += 2) {
            pair[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
            pair[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
        }
        for (int i = 0; i < 16; i += 4) {  // quad[i + c]: word 4L + c of rows i to i + 3 in lane L
            quad[i] = _mm512_unpacklo_epi64(pair[i], pair[i + 2]);
            quad[i + 1] = _mm512_unpackhi_epi64(pair[i], pair[i + 2]);
            quad[i + 2] = _mm512_unpacklo_epi64(pair[i + 1], pair[i + 3]);
            quad[i + 3] = _mm512_unpackhi_epi64(pair[i + 1], pair[i + 3]);
        }
        for (int c = 0; c < 4; ++c) {
            const __m512i even0 = _mm512_shuffle_i32x4(quad[c], quad[c + 4], 0x88);
            const __m512i odd0 = _mm512_shuffle_i32x4(quad[c], quad[c + 4], 0xdd);
            const __m512i even1 = _mm512_shuffle_i32x4(quad[c + 8], quad[c + 12], 0x88);
            const __m512i odd1 = _mm512_shuffle_i32x4(quad[c + 8], quad[c + 12], 0xdd);
            out[c] = _mm512_shuffle_i32x4(even0, even1, 0x88);
            out[c + 4] = _mm512_shuffle_i32x4(odd0, odd1, 0x88);
            out[c + 8] = _mm512_shuffle_i32x4(even0, even1, 0xdd);
            out[c + 12] = _mm512_shuffle_i32x4(odd0, odd1, 0xdd);
        }
    }

    static Floats load_bf16(const std::uint8_t* at) {
        const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    static Floats load_bf16(const std::uint8_t* at, int count) {
        const __m256i bits = _mm256_maskz_loadu_epi16((1u << count) - 1, at);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    static Floats even_bf16(const std::uint8_t* at) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(load_bytes(at), 16));
    }
    static Floats odd_bf16(const std::uint8_t* at) {
        return _mm512_castsi512_ps(_mm512_and_si512(load_bytes(at), splat_int(-65536)));
    }
    // Block i of four holds groups 4i to 4i + 3, one in each 128 bits.
    static Floats by_lane(Floats scales) {
        return _mm512_permutexvar_ps(
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), scales);
    }
    template <int I>
    static Floats pick(Floats scales) {
        return _mm512_shuffle_ps(scales, scales, I * 0x55);
    }

    static Floats load_int8(const std::uint8_t* at) { return widen16(load16(at)); }

    template <Format F>
    static void widen(const std::uint8_t* group, Floats* out) {
        if constexpr (F == Format::int4) {
            const __m128i both = load16(group);
            const __m128i mask = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
            const __m128i low = _mm_sub_epi8(_mm_and_si128(both, mask), eight);
            const __m128i high = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(both, 4), mask), eight);
            out[0] = widen16(_mm_unpacklo_epi8(low, high));
            out[1] = widen16(_mm_unpackhi_epi8(low, high));
        } else {
            for (int i = 0; i < 2; ++i) {
                if constexpr (F == Format::bf16) {
                    out[i] = load_bf16(group + 32 * i);
                } else if constexpr (F == Format::int8) {
                    out[i] = widen16(load16(group + 16 * i));
                } else {
                    out[i] = widen_fp8(load16(group + 16 * i));
                }
            }
        }
    }

private:
    static __m128i load16(const std::uint8_t* at) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    }
    static Floats widen16(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }
    static Floats widen_fp8(__m128i bytes) {
        const __m512i bits = _mm512_cvtepu8_epi32(bytes);
        const __m512i rest = _mm512_and_si512(bits, splat_int(0x7f));
        const __m512i sign = _mm512_slli_epi32(_mm512_xor_si512(bits, rest), 24);
        const __m512i value = _mm512_or_si512(sign, _mm512_slli_epi32(rest, 20));
        const __mmask16 nan = _mm512_cmpeq_epi32_mask(rest, splat_int(0x7f));
        return _mm512_castsi512_ps(_mm512_mask_mov_epi32(value, nan, splat_int(-1)));
    }
};

}  // namespace
}  // namespace selenograph
