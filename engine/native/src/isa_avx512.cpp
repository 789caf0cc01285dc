// AVX-512 F, BW, VL and DQ: Intel's servers since Skylake, AMD since Zen 4 (which has VNNI too).
#include "isa_table.hpp"
#include "kernels/dot_loop.hpp"
#include "kernels/pack_avx2.hpp"
#include "kernels/quantise_avx512.hpp"
#include "kernels/zmm_set.hpp"

namespace selenograph {
namespace {

struct MaddAdd {
    static __m512i add(__m512i sum, __m512i pairs, __m512i by) {
        return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, by));
    }
};

struct Dot {
    static __m512i add(__m512i sum, __m512i weights, __m512i x) {
        return MaddAdd::add(sum, _mm512_maddubs_epi16(weights, x), _mm512_set1_epi16(1));
    }
};

std::int64_t dot_loop(std::int64_t rounds) {
    return dot_chains<Dot>(rounds, _mm512_setzero_si512(), _mm512_set1_epi8(7),
                           _mm512_set1_epi8(-3));
}

bool supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

}  // namespace

const Isa kAvx512 = table<ZmmSet<MaddAdd>>("avx512", supported, quantise_row_avx512, dot_loop,
                                     pack_row_avx2<4>, pack_row_avx2<8>);

}  // namespace selenograph
