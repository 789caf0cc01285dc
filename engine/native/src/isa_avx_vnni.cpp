// AVX-VNNI: AVX2 with the dot products of AVX-512 VNNI (Intel since Alder Lake, AMD since Zen 5).
#include <cpuid.h>

#include "isa_table.hpp"
#include "kernels/dot_loop.hpp"
#include "kernels/pack_avx2.hpp"
#include "kernels/quantise_avx2.hpp"
#include "kernels/ymm_set.hpp"

namespace selenograph {
namespace {

struct Dpwssd {
    static constexpr bool kTwoSteps = false;
    static __m256i add(__m256i sum, __m256i pairs, __m256i by) {
        return _mm256_dpwssd_avx_epi32(sum, pairs, by);
    }
};

struct Dot {
    static __m256i add(__m256i sum, __m256i weights, __m256i x) {
        return _mm256_dpbusd_avx_epi32(sum, weights, x);
    }
};

std::int64_t dot_loop(std::int64_t rounds) {
    return dot_chains<Dot>(rounds, _mm256_setzero_si256(), _mm256_set1_epi8(7),
                           _mm256_set1_epi8(-3));
}

bool supported() {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;   // older compilers have no name for it
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}

}  // namespace

const Isa kAvxVnni = table<YmmSet<Dpwssd>>("avx_vnni", supported, quantise_row_avx2<32>, dot_loop,
                                      pack_row_avx2<4>, pack_row_avx2<8>);

}  // namespace selenograph
