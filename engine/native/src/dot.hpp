// The kernel: 32 rows of INT4 weights against up to four tokens, for any instruction set.
//
// A vector set V gives `Floats` (V::kWidth lanes), zero, load, splat, fma, sum, and
//   unpack(bytes, Floats[32 / kWidth])  a group's weights as (nibble - 8), even columns first
//   dot_group(bytes, int8[32])          nibble * int8 summed to kWidth lanes
//   load_bf16(bytes)                    kWidth bf16 values
// An activation form F gives step (one group into the accumulators) and finish.
//
// A row's sum runs over its groups in order whatever the batch, the tile or the thread, so that a
// token's result has the same bits alone and in company.
#pragma once

#include "format.hpp"

namespace selenograph {
namespace {  // each instruction set's copy stays in its own translation unit

template <class V>
struct Exact {
    using Floats = typename V::Floats;

    template <int Tokens>
    static void step(const std::uint8_t* weights, float scale, const Activations& x,
                     const std::int64_t* tokens, std::int64_t group, Floats* total) {
        constexpr int kParts = kGroup / V::kWidth;
        Floats weight[kParts];
        V::unpack(weights, weight);
        for (int t = 0; t < Tokens; ++t) {
            const float* at = x.exact + (tokens[t] * x.groups + group) * kGroup;
            Floats part = V::zero();
            for (int i = 0; i < kParts; ++i)
                part = V::fma(weight[i], V::load(at + i * V::kWidth), part);
            total[t] = V::fma(part, V::splat(scale), total[t]);
        }
    }

    static float finish(const std::uint8_t*, const Activations&, std::int64_t, Floats total) {
        return V::sum(total);
    }
};

template <class V>
struct Fast {
    using Floats = typename V::Floats;

    template <int Tokens>
    static void step(const std::uint8_t* weights, float scale, const Activations& x,
                     const std::int64_t* tokens, std::int64_t group, Floats* total) {
        for (int t = 0; t < Tokens; ++t) {
            const std::int64_t at = tokens[t] * x.groups + group;
            const Floats dot = V::dot_group(weights, x.quantised + at * kGroup);
            total[t] = V::fma(dot, V::splat(scale * x.scale[at]), total[t]);
        }
    }

    // Nibbles were taken as 0..15: subtract 8 * (sum of the group) for the value -8..7.
    static float finish(const std::uint8_t* scales, const Activations& x, std::int64_t token,
                        Floats total) {
        const float* shift = x.shift + token * x.groups;
        Floats excess = V::zero();
        std::int64_t g = 0;
        for (; g + V::kWidth <= x.groups; g += V::kWidth)
            excess = V::fma(V::load_bf16(scales + 2 * g), V::load(shift + g), excess);
        float rest = V::sum(excess);
        for (; g < x.groups; ++g) rest += load_bf16(scales + 2 * g) * shift[g];
        return V::sum(total) - rest;
    }
};

template <class V, class Form, int Tokens>
void dot_tile(const Int4Matrix& matrix, std::int64_t first_row, const Activations& x,
              const std::int64_t* tokens, float* y) {
    for (int r = 0; r < kRowBlock; ++r) {
        const std::int64_t row = first_row + r;
        const std::uint8_t* weights = matrix.packed + row * matrix.groups * kGroupBytes;
        const std::uint8_t* scales = matrix.scales + row * matrix.groups * 2;
        typename V::Floats total[Tokens];
        for (int t = 0; t < Tokens; ++t) total[t] = V::zero();
        for (std::int64_t g = 0; g < matrix.groups; ++g)
            Form::template step<Tokens>(weights + g * kGroupBytes, load_bf16(scales + 2 * g), x,
                                        tokens, g, total);
        for (int t = 0; t < Tokens; ++t)
            y[t * kRowBlock + r] = Form::finish(scales, x, tokens[t], total[t]);
    }
}

template <class V, class Form>
void dot_block(const Int4Matrix& matrix, std::int64_t first_row, const Activations& x,
               const std::int64_t* tokens, int count, float* y) {
    switch (count) {
        case 1: return dot_tile<V, Form, 1>(matrix, first_row, x, tokens, y);
        case 2: return dot_tile<V, Form, 2>(matrix, first_row, x, tokens, y);
        case 3: return dot_tile<V, Form, 3>(matrix, first_row, x, tokens, y);
        default: return dot_tile<V, Form, 4>(matrix, first_row, x, tokens, y);
    }
}

}  // namespace
}  // namespace selenograph
