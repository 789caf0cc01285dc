// AVX2 with FMA: every x86-64 processor since 2013 (Intel) and 2015 (AMD).
#include "isa_table.hpp"
#include "kernels/dot_loop.hpp"
#include "kernels/pack_avx2.hpp"
#include "kernels/quantise_avx2.hpp"
#include "kernels/ymm_set.hpp"

namespace selenograph {
namespace {

struct MaddAdd {
    static constexpr bool kTwoSteps = true;
    static __m256i add(__m256i sum, __m256i pairs, __m256i by) {
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, by));
    }
};

struct Dot {
    static __m256i add(__m256i sum, __m256i weights, __m256i x) {
        return MaddAdd::add(sum, _mm256_maddubs_epi16(weights, x), _mm256_set1_epi16(1));
    }
};

std::int64_t dot_loop(std::int64_t rounds) {
    return dot_chains<Dot>(rounds, _mm256_setzero_si256(), _mm256_set1_epi8(7),
                           _mm256_set1_epi8(-3));
}

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

const Isa kAvx2 = table<YmmSet<MaddAdd>>("avx2", supported, quantise_row_avx2<32>, dot_loop,
                                  pack_row_avx2<4>, pack_row_avx2<8>);

}  // namespace selenograph
