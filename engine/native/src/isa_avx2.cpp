// AVX2 with FMA: every x86-64 processor since 2013 (Intel) and 2015 (AMD).
#include "isa_table.hpp"
#include "kernels/avx2_set.hpp"
#include "kernels/quantise_avx2.hpp"

namespace selenograph {
namespace {

std::int64_t dot_loop(std::int64_t rounds) {
    constexpr int kChains = 8;
    __m256i sum[kChains], weights = _mm256_set1_epi8(7), x = _mm256_set1_epi8(-3);
    for (auto& s : sum) s = _mm256_setzero_si256();
    const __m256i ones = _mm256_set1_epi16(1);
    for (std::int64_t i = 0; i < rounds; ++i) {
        for (auto& s : sum) {
            __asm__("" : "+x"(x));  // or the compiler does it once
            s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(weights, x), ones));
        }
    }
    for (auto& s : sum) __asm__ volatile("" : : "x"(s));
    return rounds * kChains * 32;
}

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

const Isa kAvx2 = table<Avx2Set>("avx2", supported, quantise_row_avx2<32>, dot_loop);

}  // namespace selenograph
