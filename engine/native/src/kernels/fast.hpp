// INT4 rows against INT8 activations, weights read once from memory: the kernel of decode.
//
// Beside wide.hpp's, a vector set V gives `Bytes` and `Ints` (int32, kWidth lanes) and
//   load_bytes                          a vector of bytes
//   unpack(Bytes, Bytes&, Bytes&)       a block's nibbles, in the set's own order
//   dot(Bytes, Bytes, x)                with a block of activations: a lane's columns are of one group
//   load_ints, to_float
//   load_bf16(bytes)                    kWidth values
//   by_lane(Floats)                     scales of four blocks, so that pick<i> gives block i's
//   pick<i>(Floats)                     element i of every 128 bits, four times
// Most sets take unpack and dot from pairwise.hpp.
#pragma once

#include "../format.hpp"

namespace selenograph {
namespace {

// Bytes between what is computed and what is asked from memory. The hardware's own look-ahead ends
// at each page of 4 KB; this crosses them.
constexpr std::int64_t kAhead = 2048;

template <class V>
struct FastLayout {
    static constexpr int kBlock = sizeof(typename V::Bytes);      // bytes of weights
    static constexpr int kSpan = 3 * kBlock;                      // bytes of activations for them
    static constexpr int kQuad = 4 * kBlock;                      // four blocks, kWidth groups
};

// One token alone adds up in two sums, so that one addition need not wait for the last.
template <int Tile>
constexpr int kSums = Tile == 1 ? 2 : 1;

template <class V, int Tile>
using Totals = typename V::Floats[Tile][kSums<Tile>];

template <class V, int Tile, int I>
inline void fast_block(const std::uint8_t* weights, const std::uint8_t* const* x,
                       typename V::Floats scales, Totals<V, Tile>& total) {
    using L = FastLayout<V>;
    typename V::Bytes first, second;
    V::unpack(V::load_bytes(weights + I * L::kBlock), first, second);
    const auto scale = V::template pick<I>(scales);
    for (int t = 0; t < Tile; ++t) {
        const auto sum = V::dot(first, second, x[t] + I * L::kSpan);
        auto& to = total[t][I % kSums<Tile>];
        to = V::fma(V::to_float(sum), scale, to);
    }
}

// Four blocks of weights; their scales fill one vector.
template <class V, int Tile>
inline void fast_quad(const std::uint8_t* weights, const std::uint8_t* scales,
                      const std::uint8_t* const* x, const std::int32_t* const* offset,
                      Totals<V, Tile>& total) {
    const auto plain = V::load_bf16(scales);
    for (int t = 0; t < Tile; ++t) {
        auto& to = total[t][kSums<Tile> - 1];
        to = V::fma(V::to_float(V::load_ints(offset[t])), plain, to);
    }
    const auto scale = V::by_lane(plain);
    fast_block<V, Tile, 0>(weights, x, scale, total);
    fast_block<V, Tile, 1>(weights, x, scale, total);
    fast_block<V, Tile, 2>(weights, x, scale, total);
    fast_block<V, Tile, 3>(weights, x, scale, total);
}

// Part of a row: quads `begin` .. `end` and, where `last`, what is left of it.
template <class V, int Tile>
inline void fast_stretch(const Matrix& m, std::int64_t row, const std::uint8_t* const* data,
                         const std::int32_t* const* offsets, std::int64_t begin, std::int64_t end,
                         bool last, std::int64_t ahead, Totals<V, Tile>& total) {
    using L = FastLayout<V>;
    const std::int64_t groups = m.columns / kGroup;
    const std::uint8_t* weights = m.data + row * groups * 16 + begin * L::kQuad;
    const std::uint8_t* scales = m.scales + (row * groups + begin * V::kWidth) * 2;
    const std::uint8_t* x[Tile];
    const std::int32_t* offset[Tile];
    for (int t = 0; t < Tile; ++t) {
        x[t] = data[t];
        offset[t] = offsets[t];
    }
    for (std::int64_t q = begin; q < end; ++q) {
        for (int line = 0; line < L::kQuad; line += 64) V::prefetch(weights + ahead + line);
        if (q * L::kQuad % 512 == 0) V::prefetch(scales + ahead / 4);
        fast_quad<V, Tile>(weights, scales, x, offset, total);
        weights += L::kQuad;
        scales += 2 * V::kWidth;
        for (int t = 0; t < Tile; ++t) {
            x[t] += 4 * L::kSpan;
            offset[t] += V::kWidth;
        }
    }
    const std::int64_t rest = groups % V::kWidth;
    if (last && rest > 0) {
        std::uint8_t last_weights[L::kQuad] = {};
        std::uint8_t last_scales[2 * V::kWidth] = {};
        std::memcpy(last_weights, weights, rest * 16);
        std::memcpy(last_scales, scales, rest * 2);
        fast_quad<V, Tile>(last_weights, last_scales, x, offset, total);
    }
}

// Where several tokens' activations outgrow the first-level cache, rows are taken in stretches of
// kStretch columns, a block of rows at a time; else whole, which memory likes best.
constexpr int kStretch = 3584;
constexpr int kStretchRows = 32;

template <class V, int Tile>
void fast_tile(const Matrix& m, std::int64_t first, std::int64_t count, const FastRows& rows,
               const std::int64_t* tokens, float* y, std::int64_t stride) {
    const std::int64_t quads = m.columns / kGroup / V::kWidth;
    const bool whole = Tile <= 2 || m.columns <= kStretch;
    const std::int64_t step = whole ? quads + 1 : kStretch / (kGroup * V::kWidth);
    const std::int64_t ahead = whole ? kAhead : m.columns / 2;     // in a stretch: the next row's
    Totals<V, Tile> totals[kStretchRows];
    for (std::int64_t block = 0; block < count; block += kStretchRows) {
        const std::int64_t here = count - block < kStretchRows ? count - block : kStretchRows;
        for (std::int64_t q = 0; q <= quads; q += step) {
            const bool last = q + step > quads;
            const std::uint8_t* data[Tile];
            const std::int32_t* offsets[Tile];
            for (int t = 0; t < Tile; ++t) {
                data[t] = rows.data + tokens[t] * rows.stride + q * 4 * FastLayout<V>::kSpan;
                offsets[t] = rows.offset + tokens[t] * rows.offsets + q * V::kWidth;
            }
            for (std::int64_t r = 0; r < here; ++r) {
                Totals<V, Tile> total;
                for (int t = 0; t < Tile; ++t)
                    for (int i = 0; i < kSums<Tile>; ++i)
                        total[t][i] = q == 0 ? V::zero() : totals[r][t][i];
                fast_stretch<V, Tile>(m, first + block + r, data, offsets, q,
                                      last ? quads : q + step, last, ahead, total);
                for (int t = 0; t < Tile; ++t) {
                    if (last) {
                        const auto all =
                            Tile == 1 ? V::add(total[t][0], total[t][kSums<Tile> - 1]) : total[t][0];
                        y[t * stride + block + r] = V::sum(all) * rows.scale[tokens[t]];
                    } else {
                        for (int i = 0; i < kSums<Tile>; ++i) totals[r][t][i] = total[t][i];
                    }
                }
            }
        }
    }
}

template <class V>
void fast_dot(const Matrix& m, std::int64_t first, std::int64_t count, const FastRows& x,
              const std::int64_t* tokens, int tile, float* y, std::int64_t stride) {
    switch (tile) {
        case 1: return fast_tile<V, 1>(m, first, count, x, tokens, y, stride);
        case 2: return fast_tile<V, 2>(m, first, count, x, tokens, y, stride);
        case 3: return fast_tile<V, 3>(m, first, count, x, tokens, y, stride);
        default: return fast_tile<V, 4>(m, first, count, x, tokens, y, stride);
    }
}

}  // namespace
}  // namespace selenograph
