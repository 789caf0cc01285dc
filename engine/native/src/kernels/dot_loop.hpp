// The ceilings of an instruction set's arithmetic: independent chains of it on registers.
#pragma once

#include <cstdint>

#include "hold.hpp"

namespace selenograph {
namespace {

// Step::add(sum, weights, x) multiplies every byte once.
template <class Step, class Vector>
std::int64_t dot_chains(std::int64_t rounds, Vector zero, Vector weights, Vector x) {
    constexpr int kChains = 12;    // as long as the instruction takes, twice a cycle
    Vector sum[kChains];
    for (auto& s : sum) s = zero;
    for (std::int64_t i = 0; i < rounds; ++i) {
        for (auto& s : sum) {
            hold_vector(x);        // or the compiler does it once
            s = Step::add(s, weights, x);
        }
    }
    for (auto& s : sum) hold_vector(s);
    return rounds * kChains * static_cast<std::int64_t>(sizeof(Vector));
}

template <class V>
std::int64_t fma_chains(std::int64_t rounds) {
    constexpr int kChains = V::kSums;
    typename V::Floats sum[kChains], a = V::splat(0.75f), b = V::splat(-0.5f);
    for (int i = 0; i < kChains; ++i) sum[i] = V::splat(static_cast<float>(i));  // none like another
    for (std::int64_t i = 0; i < rounds; ++i) {
        V::hold(a);
        for (auto& s : sum) s = V::fma(a, b, s);
    }
    hold_memory(sum);
    return rounds * kChains * V::kWidth;
}

}  // namespace
}  // namespace selenograph
