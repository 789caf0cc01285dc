// Rows of any format against float32 activations: the exact kernel, and the only one for formats
// other than INT4.
//
// A vector set V gives `Floats` (V::kWidth lanes), zero, splat, load, add, fma, sum, and
//   widen<Format>(bytes, Floats[32 / kWidth])   32 columns as they are stored, without their scale,
//                                               of every format but f32
//
// A row's sum runs over its groups in order whatever the batch, the tile or the thread, so that a
// token's result has the same bits alone and in company.
#pragma once

#include "../format.hpp"

namespace selenograph {
namespace {  // each instruction set's copy stays in its own translation unit

constexpr std::int64_t kWideAhead = 2048;  // as in fast.hpp

template <Format F>
inline float group_scale(const Matrix& m, std::int64_t row, std::int64_t group) {
    if constexpr (F == Format::int4 || F == Format::int8) {
        return load_bf16(m.scales + (row * m.groups() + group) * 2);
    } else if constexpr (F == Format::fp8) {
        const std::int64_t wide = (m.columns + kFp8Block - 1) / kFp8Block;
        const std::int64_t at = row / kFp8Block * wide + group * kGroup / kFp8Block;
        return load_float(m.scales + at * 4) * kFp8Rescale;
    } else {
        return 1.0f;
    }
}

template <class V, Format F, int Tile>
void wide_step(const std::uint8_t* bytes, float scale, const float* const* x, std::int64_t column,
               typename V::Floats* total) {
    constexpr int kParts = kGroup / V::kWidth;
    typename V::Floats weight[kParts];
    if constexpr (F == Format::f32) {
        for (int i = 0; i < kParts; ++i)
            weight[i] = V::load(reinterpret_cast<const float*>(bytes) + i * V::kWidth);
    } else {
        V::template widen<F>(bytes, weight);
    }
    for (int t = 0; t < Tile; ++t) {
        typename V::Floats part = V::zero();
        for (int i = 0; i < kParts; ++i)
            part = V::fma(weight[i], V::load(x[t] + column + i * V::kWidth), part);
        total[t] = V::fma(part, V::splat(scale), total[t]);
    }
}

template <class V, Format F, int Tile>
void wide_tile(const Matrix& m, std::int64_t first, std::int64_t count, const WideRows& rows,
               const std::int64_t* tokens, float* y, std::int64_t stride) {
    const float* x[Tile];
    for (int t = 0; t < Tile; ++t) x[t] = rows.data + tokens[t] * rows.groups * kGroup;
    const std::int64_t row_bytes = m.columns * group_bytes(F) / kGroup;
    const std::int64_t whole = m.columns / kGroup;
    const std::int64_t rest = (m.columns % kGroup) * group_bytes(F) / kGroup;
    for (std::int64_t r = 0; r < count; ++r) {
        const std::uint8_t* bytes = m.data + (first + r) * row_bytes;
        typename V::Floats total[Tile];
        for (int t = 0; t < Tile; ++t) total[t] = V::zero();
        for (std::int64_t g = 0; g < whole; ++g) {
            V::prefetch(bytes + g * group_bytes(F) + kWideAhead);
            wide_step<V, F, Tile>(bytes + g * group_bytes(F), group_scale<F>(m, first + r, g), x,
                                  g * kGroup, total);
        }
        if (rest > 0) {
            std::uint8_t last[group_bytes(F)] = {};
            std::memcpy(last, bytes + whole * group_bytes(F), rest);
            wide_step<V, F, Tile>(last, group_scale<F>(m, first + r, whole), x, whole * kGroup,
                                  total);
        }
        for (int t = 0; t < Tile; ++t) y[t * stride + r] = V::sum(total[t]);
    }
}

template <class V, Format F>
void wide_dot(const Matrix& m, std::int64_t first, std::int64_t count, const WideRows& x,
              const std::int64_t* tokens, int tile, float* y, std::int64_t stride) {
    switch (tile) {
        case 1: return wide_tile<V, F, 1>(m, first, count, x, tokens, y, stride);
        case 2: return wide_tile<V, F, 2>(m, first, count, x, tokens, y, stride);
        case 3: return wide_tile<V, F, 3>(m, first, count, x, tokens, y, stride);
        default: return wide_tile<V, F, 4>(m, first, count, x, tokens, y, stride);
    }
}

}  // namespace
}  // namespace selenograph
