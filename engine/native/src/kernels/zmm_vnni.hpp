// What AVX-512 VNNI adds to zmm_set.hpp; AMX has it too.
#pragma once

#include "dot_loop.hpp"
#include "zmm_set.hpp"

namespace selenograph {
namespace {

struct Dpwssd {
    static __m512i add(__m512i sum, __m512i pairs, __m512i by) {
        return _mm512_dpwssd_epi32(sum, pairs, by);
    }
};

using ZmmVnniSet = ZmmSet<Dpwssd>;

struct Dpbusd {
    static __m512i add(__m512i sum, __m512i weights, __m512i x) {
        return _mm512_dpbusd_epi32(sum, weights, x);
    }
};

bool has_avx512_vnni() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}

}  // namespace
}  // namespace selenograph
