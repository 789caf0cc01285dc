// silu(gate) * up, where silu(x) = x / (1 + exp(-x)) (Hendrycks & Gimpel 2016, arXiv:1606.08415).
//
// exp(x) = 2^n * p(r) with n = round(x / ln 2), |r| <= ln(2) / 2 and the Taylor polynomial of degree
// six, whose remainder r^7 / 7! is below 1.3e-7.
#pragma once

#include "../format.hpp"

namespace selenograph {
namespace {

template <class V>
inline typename V::Floats exponential(typename V::Floats x) {
    const auto bounded = V::clamp(x, -87.0f, 87.0f);  // beyond, the quotient is 0 or 1 to the last bit
    const auto n = V::nearest(V::mul(bounded, V::splat(1.44269504f)));
    auto r = V::fma(n, V::splat(-0.693359375f), bounded);       // ln 2 in two parts
    r = V::fma(n, V::splat(2.12194440e-4f), r);
    auto p = V::splat(1.0f / 720);
    for (const float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
        p = V::fma(p, r, V::splat(coefficient));
    return V::mul(p, V::power_of_two(n));
}

template <class V>
inline typename V::Floats silu_times(typename V::Floats gate, typename V::Floats up) {
    const auto minus = V::mul(gate, V::splat(-1.0f));
    const auto below = V::add(V::splat(1.0f), exponential<V>(minus));
    return V::mul(V::div(gate, below), up);
}

template <class V>
void silu_multiply(const float* gate, const float* up, std::int64_t count, float* out) {
    std::int64_t i = 0;
    for (; i + V::kWidth <= count; i += V::kWidth)
        V::store(out + i, silu_times<V>(V::load(gate + i), V::load(up + i)));
    if (i == count) return;
    alignas(64) float last[3][V::kWidth] = {};
    std::memcpy(last[0], gate + i, (count - i) * 4);
    std::memcpy(last[1], up + i, (count - i) * 4);
    V::store(last[2], silu_times<V>(V::load(last[0]), V::load(last[1])));
    std::memcpy(out + i, last[2], (count - i) * 4);
}

}  // namespace
}  // namespace selenograph
