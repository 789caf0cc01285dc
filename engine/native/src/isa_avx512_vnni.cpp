// AVX-512 with VNNI: Intel's servers since Cascade Lake, AMD since Zen 4.
#include "isa_table.hpp"
#include "kernels/pack_avx2.hpp"
#include "kernels/quantise_avx512.hpp"
#include "kernels/zmm_vnni.hpp"

namespace selenograph {
namespace {

std::int64_t dot_loop(std::int64_t rounds) {
    return dot_chains<Dpbusd>(rounds, _mm512_setzero_si512(), _mm512_set1_epi8(7),
                              _mm512_set1_epi8(-3));
}

}  // namespace

const Isa kAvx512Vnni =
    table<ZmmVnniSet>("avx512_vnni", has_avx512_vnni, quantise_row_avx512, dot_loop,
                      pack_row_avx2<4>, pack_row_avx2<8>);

}  // namespace selenograph
