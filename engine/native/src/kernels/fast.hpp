// INT4 rows against INT8 activations, weights read once from memory: the kernel of decode.
//
// Beside wide.hpp's, a vector set V gives `Bytes` and `Ints` (int32, kWidth lanes) and
//   load_bytes                          a vector of bytes
//   unpack(Bytes, Bytes&, Bytes&)       a block's nibbles, in the set's own order
//   dot(Bytes, Bytes, x)                with a block of activations: a lane's columns are of one group
//   load_ints, to_float
//   load_bf16(bytes)                    kWidth values
//   load_bf16(bytes, count)             fewer, then zeros
//   by_lane(Floats)                     scales of four blocks, so that pick<i> gives block i's
//   pick<i>(Floats)                     element i of every 128 bits, four times
//   kRows                               rows whose sums of kTokenTile tokens fit in the registers
//   kAhead, kRowsAhead                  bytes that memory is asked for ahead: of one token's rows,
//                                       and of rows taken together
// Most sets take unpack and dot from pairwise.hpp.
//
// Several tokens' activations outgrow the first-level cache, so each block of them meets the same
// block of several rows. Their weights are asked from memory in the order in which they lie there,
// not in that of their use: memory likes one long stream better than several.
#pragma once

#include "../format.hpp"

namespace selenograph {
namespace {

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

// Rows one after another: where they begin, and bytes from each to the next.
struct FastWeights {
    const std::uint8_t* data;
    std::int64_t data_stride;
    const std::uint8_t* scales;
    std::int64_t scale_stride;
};

template <class V, int Tile, int Rows, int I>
inline void fast_blocks(const FastWeights& weights, const std::uint8_t* const* x,
                        const typename V::Floats* scales, Totals<V, Tile>* total) {
    for (int r = 0; r < Rows; ++r)
        fast_block<V, Tile, I>(weights.data + r * weights.data_stride, x, scales[r], total[r]);
}

// Up to four blocks of each row; a row's scales for them fill one vector, or its beginning.
template <class V, int Tile, int Rows>
inline void fast_quad(const FastWeights& weights, const std::uint8_t* const* x,
                      const std::int32_t* const* offset, Totals<V, Tile>* total,
                      int groups = V::kWidth) {
    const int blocks = groups / (V::kWidth / 4);
    typename V::Floats scales[Rows];
    for (int r = 0; r < Rows; ++r) {
        const std::uint8_t* at = weights.scales + r * weights.scale_stride;
        const auto plain = groups == V::kWidth ? V::load_bf16(at) : V::load_bf16(at, groups);
        for (int t = 0; t < Tile; ++t) {
            auto& to = total[r][t][kSums<Tile> - 1];
            to = V::fma(V::to_float(V::load_ints(offset[t])), plain, to);
        }
        scales[r] = V::by_lane(plain);
    }
    fast_blocks<V, Tile, Rows, 0>(weights, x, scales, total);
    if (blocks > 1) fast_blocks<V, Tile, Rows, 1>(weights, x, scales, total);
    if (blocks > 2) fast_blocks<V, Tile, Rows, 2>(weights, x, scales, total);
    if (blocks > 3) fast_blocks<V, Tile, Rows, 3>(weights, x, scales, total);
}

template <class V, int Tile, int Rows>
inline void fast_rows(const Matrix& m, std::int64_t row, const FastRows& rows,
                      const std::int64_t* tokens, float* y, std::int64_t stride) {
    using L = FastLayout<V>;
    const std::int64_t groups = m.columns / kGroup;
    FastWeights weights{m.data + row * groups * 16, groups * 16, m.scales + row * groups * 2,
                        groups * 2};
    const std::uint8_t* next = weights.data + (Rows == 1 ? V::kAhead : V::kRowsAhead);
    const std::uint8_t* x[Tile];
    const std::int32_t* offset[Tile];
    for (int t = 0; t < Tile; ++t) {
        x[t] = rows.data + tokens[t] * rows.stride;
        offset[t] = rows.offset + tokens[t] * rows.offsets;
    }
    Totals<V, Tile> total[Rows];
    for (auto& of_row : total)
        for (auto& of_token : of_row)
            for (auto& sum : of_token) sum = V::zero();
    for (std::int64_t q = 0; q < groups / V::kWidth; ++q) {
        for (int r = 0; r < Rows; ++r) {
            for (int line = 0; line < L::kQuad; line += 64) V::prefetch(next + line);
            next += L::kQuad;
            if (q * L::kQuad % 512 == 0)
                V::prefetch(weights.scales + r * weights.scale_stride + V::kAhead / 4);
        }
        fast_quad<V, Tile, Rows>(weights, x, offset, total);
        weights.data += L::kQuad;
        weights.scales += 2 * V::kWidth;
        for (int t = 0; t < Tile; ++t) {
            x[t] += 4 * L::kSpan;
            offset[t] += V::kWidth;
        }
    }
    const auto rest = static_cast<int>(groups % V::kWidth);
    if (rest > 0) {
        for (int line = 0; line < Rows * rest * 16; line += 64) V::prefetch(next + line);
        if (rest % (V::kWidth / 4) == 0) {
            fast_quad<V, Tile, Rows>(weights, x, offset, total, rest);
        } else {                   // half a block: nothing may be read beyond it
            std::uint8_t data[Rows][L::kQuad] = {};
            std::uint8_t scales[Rows][2 * V::kWidth] = {};
            for (int r = 0; r < Rows; ++r) {
                std::memcpy(data[r], weights.data + r * weights.data_stride, rest * 16);
                std::memcpy(scales[r], weights.scales + r * weights.scale_stride, rest * 2);
            }
            fast_quad<V, Tile, Rows>({data[0], L::kQuad, scales[0], 2 * V::kWidth}, x, offset, total);
        }
    }
    for (int r = 0; r < Rows; ++r) {
        for (int t = 0; t < Tile; ++t) {
            const auto& sums = total[r][t];
            const auto all = Tile == 1 ? V::add(sums[0], sums[kSums<Tile> - 1]) : sums[0];
            y[t * stride + r] = V::sum(all) * rows.scale[tokens[t]];
        }
    }
}

template <class V, int Tile>
void fast_tile(const Matrix& m, std::int64_t first, std::int64_t count, const FastRows& x,
               const std::int64_t* tokens, float* y, std::int64_t stride) {
    std::int64_t r = 0;
    // One token's long rows are taken one by one, as memory likes best; of short ones the ends cost more.
    if (Tile > 1 || m.columns / kGroup <= V::kWidth)
        for (; r + V::kRows <= count; r += V::kRows)
            fast_rows<V, Tile, V::kRows>(m, first + r, x, tokens, y + r, stride);
    for (; r < count; ++r) fast_rows<V, Tile, 1>(m, first + r, x, tokens, y + r, stride);
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
