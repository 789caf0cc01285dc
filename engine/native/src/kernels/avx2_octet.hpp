// One octet of two panels against four tokens, by hand: eight sums, four weights and what is between
// fill the sixteen registers exactly, and compilers, which see it otherwise, spill.
#pragma once

#include <immintrin.h>

#include "../format.hpp"

namespace selenograph {
namespace {

// The operations on one token: its even columns, odd columns and multiplier to all lanes, then both
// panels. ymm8 and 9 hold the first panel's even and odd columns, ymm10 and 11 the second's.
#define SELENOGRAPH_TOKEN(AT, FIRST, SECOND)              \
    "vpbroadcastd " AT "(%[x]), %%ymm12\n\t"              \
    "vpbroadcastd 32+" AT "(%[x]), %%ymm13\n\t"           \
    "vpmaddubsw %%ymm12, %%ymm8, %%ymm14\n\t"             \
    "vpmaddubsw %%ymm13, %%ymm9, %%ymm15\n\t"             \
    "vpmaddubsw %%ymm12, %%ymm10, %%ymm12\n\t"            \
    "vpmaddubsw %%ymm13, %%ymm11, %%ymm13\n\t"            \
    "vpaddw %%ymm15, %%ymm14, %%ymm14\n\t"                \
    "vpbroadcastd 64+" AT "(%[x]), %%ymm15\n\t"           \
    "vpaddw %%ymm13, %%ymm12, %%ymm12\n\t"                \
    "vpmaddwd %%ymm15, %%ymm14, %%ymm14\n\t"              \
    "vpmaddwd %%ymm15, %%ymm12, %%ymm12\n\t"              \
    "vpaddd %%ymm14, %[" FIRST "], %[" FIRST "]\n\t"      \
    "vpaddd %%ymm12, %[" SECOND "], %[" SECOND "]\n\t"

// sum[panel][token]; weights: even and odd columns of the first panel, the second's kPanel bytes on;
// x: the octet of the first token in a block of 32 bytes, the others' kToken bytes on.
template <int kPanel, int kToken>
inline void octet_2x4(__m256i (&sum)[2][4], const std::uint8_t* weights, const std::uint8_t* x) {
    static_assert(kToken == 384, "written out below");
    __asm__("vmovdqa (%[w]), %%ymm8\n\t"
            "vmovdqa 32(%[w]), %%ymm9\n\t"
            "vmovdqa %c[panel](%[w]), %%ymm10\n\t"
            "vmovdqa 32+%c[panel](%[w]), %%ymm11\n\t"
            SELENOGRAPH_TOKEN("0", "a0", "b0")
            SELENOGRAPH_TOKEN("384", "a1", "b1")
            SELENOGRAPH_TOKEN("768", "a2", "b2")
            SELENOGRAPH_TOKEN("1152", "a3", "b3")
            : [a0] "+x"(sum[0][0]), [a1] "+x"(sum[0][1]), [a2] "+x"(sum[0][2]),
              [a3] "+x"(sum[0][3]), [b0] "+x"(sum[1][0]), [b1] "+x"(sum[1][1]),
              [b2] "+x"(sum[1][2]), [b3] "+x"(sum[1][3])
            : [w] "r"(weights), [x] "r"(x), [panel] "i"(kPanel)
            : "memory", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

#undef SELENOGRAPH_TOKEN

}  // namespace
}  // namespace selenograph
