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

// One token's rows: on Zen 5, 2 KB are less than memory's latency, and beyond 8 KB nothing more is won
// by all formats.
constexpr std::int64_t kWideAhead = 8192;

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

template <class V, Format F, int Tokens>
[[gnu::always_inline]] inline void wide_parts(const typename V::Floats* weight, float scale,
                                              const float* const* x, std::int64_t column,
                                              typename V::Floats* total) {
    typename V::Floats part[Tokens];
    for (int t = 0; t < Tokens; ++t) part[t] = V::zero();
    for (int i = 0; i < kGroup / V::kWidth; ++i)
        for (int t = 0; t < Tokens; ++t)
            part[t] = V::fma(weight[i], V::load(x[t] + column + i * V::kWidth), part[t]);
    for (int t = 0; t < Tokens; ++t) {
        if constexpr (F == Format::bf16 || F == Format::f32)
            total[t] = V::add(part[t], total[t]);
        else
            total[t] = V::fma(part[t], V::splat(scale), total[t]);
    }
}

template <class V, Format F, int Tile>
[[gnu::always_inline]] inline void wide_step(const std::uint8_t* bytes, float scale,
                                             const float* const* x, std::int64_t column,
                                             typename V::Floats* total) {
    constexpr int kParts = kGroup / V::kWidth;
    typename V::Floats weight[kParts];
    if constexpr (F == Format::f32) {
        for (int i = 0; i < kParts; ++i)
            weight[i] = V::load(reinterpret_cast<const float*>(bytes) + i * V::kWidth);
    } else {
        V::template widen<F>(bytes, weight);
    }
    // Two tokens side by side: a processor's queue is too short to find another token's work behind
    // a chain of sums.
    int t = 0;
    for (; t + 2 <= Tile; t += 2) wide_parts<V, F, 2>(weight, scale, x + t, column, total + t);
    if (t < Tile) wide_parts<V, F, 1>(weight, scale, x + t, column, total + t);
}

// Several tokens' activations outgrow the first-level cache: then rows are taken in stretches of
// columns, a block of rows at a time, and their sums wait in between. One token's rows are read whole,
// which memory likes best.
constexpr std::int64_t kWideStretch = 4096;    // floats of activations that stay in the cache

template <class V, Format F, int Tile>
void wide_tile(const Matrix& m, std::int64_t first, std::int64_t count, const WideRows& rows,
               const std::int64_t* tokens, float* y, std::int64_t stride) {
    const std::int64_t row_bytes = m.columns * group_bytes(F) / kGroup;
    const std::int64_t whole = m.columns / kGroup;
    const std::int64_t rest = (m.columns % kGroup) * group_bytes(F) / kGroup;
    const std::int64_t step = Tile == 1 ? whole + 1 : kWideStretch / Tile / kGroup;
    // In a stretch what is read next is the next rows'.
    const std::int64_t ahead = Tile == 1 || whole <= step ? kWideAhead : 2 * row_bytes;
    typename V::Floats totals[kWideRows][Tile];
    for (std::int64_t block = 0; block < count; block += kWideRows) {
        const std::int64_t here = count - block < kWideRows ? count - block : kWideRows;
        for (std::int64_t begin = 0; begin <= whole; begin += step) {
            const bool last = begin + step > whole;
            const std::int64_t end = last ? whole : begin + step;
            const float* x[Tile];
            for (int t = 0; t < Tile; ++t) x[t] = rows.data + tokens[t] * rows.pitch;
            for (std::int64_t r = 0; r < here; ++r) {
                const std::int64_t row = first + block + r;
                const std::uint8_t* bytes = m.data + row * row_bytes;
                typename V::Floats total[Tile];
                for (int t = 0; t < Tile; ++t) total[t] = begin == 0 ? V::zero() : totals[r][t];
                for (std::int64_t g = begin; g < end; ++g) {
                    const std::uint8_t* group = bytes + g * group_bytes(F);
                    V::prefetch(group + ahead);
                    wide_step<V, F, Tile>(group, group_scale<F>(m, row, g), x, g * kGroup, total);
                }
                if (!last) {
                    for (int t = 0; t < Tile; ++t) totals[r][t] = total[t];
                    continue;
                }
                if (rest > 0) {
                    std::uint8_t padded[group_bytes(F)] = {};
                    std::memcpy(padded, bytes + whole * group_bytes(F), rest);
                    wide_step<V, F, Tile>(padded, group_scale<F>(m, row, whole), x, whole * kGroup,
                                          total);
                }
                for (int t = 0; t < Tile; ++t) y[t * stride + block + r] = V::sum(total[t]);
            }
        }
    }
}

template <class V, Format F, int Tile = kWideTile>
void wide_dot(const Matrix& m, std::int64_t first, std::int64_t count, const WideRows& x,
              const std::int64_t* tokens, int tile, float* y, std::int64_t stride) {
    if constexpr (Tile > 1) {
        if (tile < Tile) return wide_dot<V, F, Tile - 1>(m, first, count, x, tokens, tile, y, stride);
    }
    wide_tile<V, F, Tile>(m, first, count, x, tokens, y, stride);
}

}  // namespace
}  // namespace selenograph
