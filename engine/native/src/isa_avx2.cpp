// AVX2 with FMA: every x86-64 processor since 2013 (Intel) and 2015 (AMD).
#include <immintrin.h>

#include "dot.hpp"
#include "isa.hpp"

namespace selenograph {
namespace {

struct Avx2Set {
    static constexpr int kWidth = 8;
    using Floats = __m256;

    static Floats zero() { return _mm256_setzero_ps(); }
    static Floats splat(float value) { return _mm256_set1_ps(value); }
    static Floats load(const float* at) { return _mm256_loadu_ps(at); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }

    static Floats load_bf16(const std::uint8_t* at) {
        const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }

    static float sum(Floats a) {
        __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        half = _mm_add_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
    }

    static void unpack(const std::uint8_t* bytes, Floats* weight) {
        const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
        const __m128i mask = _mm_set1_epi8(15);
        const __m128i eight = _mm_set1_epi8(8);
        const __m128i low = _mm_sub_epi8(_mm_and_si128(both, mask), eight);
        const __m128i high =
            _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(both, 4), mask), eight);
        weight[0] = widen(low);
        weight[1] = widen(_mm_srli_si128(low, 8));
        weight[2] = widen(high);
        weight[3] = widen(_mm_srli_si128(high, 8));
    }

    // Low nibbles in the lower half, high nibbles in the upper. maddubs cannot overflow:
    // 2 * 15 * 127 < 32768.
    static Floats dot_group(const std::uint8_t* bytes, const std::int8_t* x) {
        const __m256i both = _mm256_broadcastsi128_si256(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
        const __m256i shifts = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
        const __m256i nibbles =
            _mm256_and_si256(_mm256_srlv_epi32(both, shifts), _mm256_set1_epi8(15));
        const __m256i act = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
        const __m256i pairs = _mm256_maddubs_epi16(nibbles, act);
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }

private:
    static Floats widen(__m128i lowest8) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(lowest8));
    }
};

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

const Isa kAvx2 = {"avx2", supported, dot_block<Avx2Set, Exact<Avx2Set>>,
                   dot_block<Avx2Set, Fast<Avx2Set>>};

}  // namespace selenograph
