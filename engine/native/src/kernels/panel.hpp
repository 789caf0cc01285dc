// INT4 rows against INT8 activations for many tokens: the kernel of prefill.
//
// A lane holds a row: the weights of kWidth rows are turned so that a vector holds the same four
// bytes (eight columns) of each, activations are broadcast. A whole group's products add up in
// int32 before they meet their scale. Beside fast.hpp's, a vector set V gives
//   turn(rows, Bytes[kWidth])   kWidth rows of kBlock bytes to kWidth vectors of 4 bytes a row
//   unpack_turned(Bytes, ...)   a turned vector's nibbles, in the set's own order
//   store_bytes, splat_int, store
//   spread(x, octet)            an octet of a block of activations, ready for all lanes
//   accumulate(Ints&, Bytes, Bytes, spread octet)   the product, added in place (a compiler gathers
//                               additions at the end and runs out of registers)
//   hold(value&)                keep it in a register
//   kAbreast, kTile             panels and tokens whose sums fit in the registers together
//
// A group's int32 stays in range: it starts at -8 * sum(m q) and every partial sum of
// (nibble - 8) * m * q is below 32 * 8 * 127 * 32767 < 2^31.
#pragma once

#include "../isa.hpp"
#include "fast.hpp"

namespace selenograph {
namespace {

template <class V>
struct Panel {
    using L = FastLayout<V>;
    static constexpr int kOctets = kPanelColumns / kOctet;
    static constexpr int kPanels = kPanelRows / V::kWidth;
    static constexpr int kPanelBytes = kOctets * 2 * L::kBlock;    // low and high, unpacked
    static constexpr int kGroups = kPanelColumns / kGroup;

    static constexpr int kTileBytes = kPanelColumns / kGroup * 48; // a token's activations

    std::uint8_t* weights;         // [kPanels][kOctets][2][kBlock]
    float* scales;                 // [kPanels][kGroups][kWidth]
    float* sums;                   // [kPanelTokens][kPanelRows]
    // A tile's activations side by side: a loop with few addresses keeps them all in registers.
    alignas(64) std::uint8_t tile[V::kTile * kTileBytes];
    std::int32_t offsets[kGroups][V::kTile];

    explicit Panel(std::uint8_t* scratch)
        : weights(scratch),
          scales(reinterpret_cast<float*>(scratch + kPanels * kPanelBytes)),
          sums(scales + kPanelRows * kGroups) {}

    // Rows first .. first + kWidth, those from `count` on repeated from the last; up to
    // kPanelColumns columns from group `g`.
    void fill(const Matrix& m, int panel, std::int64_t first, std::int64_t count, std::int64_t g,
              std::int64_t groups) {
        const std::int64_t wide = m.columns / kGroup;
        std::uint8_t* out = weights + panel * kPanelBytes;
        float* scale = scales + panel * kGroups * V::kWidth;
        const std::uint8_t* rows[V::kWidth];
        for (int r = 0; r < V::kWidth; ++r) {
            const std::int64_t row = first + (r < count ? r : count - 1);
            rows[r] = m.data + (row * wide + g) * 16;
            // The next columns of a row come soon; their first touch should not wait for memory.
            V::prefetch(rows[r] + groups * 16);
            V::prefetch(rows[r] + groups * 16 + 64);
            const std::uint8_t* s = m.scales + (row * wide + g) * 2;
            for (std::int64_t i = 0; i < groups; ++i) scale[i * V::kWidth + r] = load_bf16(s + 2 * i);
        }
        const std::int64_t bytes = groups * 16;
        for (std::int64_t at = 0; at < bytes; at += L::kBlock) {
            typename V::Bytes turned[L::kBlock / 4];
            if (at + L::kBlock <= bytes) {
                V::turn(rows, at, turned);
            } else {
                std::uint8_t padded[V::kWidth][L::kBlock] = {};
                const std::uint8_t* starts[V::kWidth];
                for (int r = 0; r < V::kWidth; ++r) {
                    std::memcpy(padded[r], rows[r] + at, bytes - at);
                    starts[r] = padded[r];
                }
                V::turn(starts, 0, turned);
            }
            for (int o = 0; o < L::kBlock / 4; ++o) {
                typename V::Bytes even, odd;
                V::unpack_turned(turned[o], even, odd);
                V::store_bytes(out + (at / 4 + o) * 2 * L::kBlock, even);
                V::store_bytes(out + ((at / 4 + o) * 2 + 1) * L::kBlock, odd);
            }
        }
    }

    // Tokens first .. first + count into the tile, and a look ahead at the next.
    void gather(const FastRows& x, const std::int64_t* tokens, int count, int next, std::int64_t g,
                std::int64_t groups) {
        const std::int64_t at = g / (L::kBlock / 16) * L::kSpan;
        const std::int64_t blocks = (groups + L::kBlock / 16 - 1) / (L::kBlock / 16);
        for (int t = 0; t < count; ++t) {
            std::memcpy(tile + t * kTileBytes, x.data + tokens[t] * x.stride + at, blocks * L::kSpan);
            const std::int32_t* offset = x.offset + tokens[t] * x.offsets + g;
            for (std::int64_t i = 0; i < groups; ++i) offsets[i][t] = offset[i];
        }
        for (int t = count; t < count + next; ++t)
            for (std::int64_t byte = 0; byte < blocks * L::kSpan; byte += 64)
                V::prefetch(x.data + tokens[t] * x.stride + at + byte);
    }

    // Adds to y[t][panel rows] for Tile gathered tokens and Width neighbouring panels.
    template <int Width, int Tile>
    void multiply(int panel, std::int64_t groups, float* y) const {
        const std::uint8_t* w = weights + panel * kPanelBytes;
        const float* scale = scales + panel * kGroups * V::kWidth;
        y += panel * V::kWidth;
        for (std::int64_t i = 0; i < groups; ++i) {
            typename V::Ints sum[Width][Tile];
            for (int t = 0; t < Tile; ++t)
                for (int p = 0; p < Width; ++p) sum[p][t] = V::splat_int(offsets[i][t]);
            constexpr int kPerBlock = L::kBlock / 4;               // octets
            const std::uint8_t* x = tile + i * 4 / kPerBlock * L::kSpan;
            const int within = static_cast<int>(i * 4 % kPerBlock);
            if constexpr (V::template kByHand<Width, Tile>) {
#pragma GCC unroll 4
                for (int o = 0; o < 4; ++o)
                    V::template octet<kPanelBytes, kTileBytes>(
                        sum, w + (i * 4 + o) * 2 * L::kBlock, x + 4 * (within + o));
            } else {
#pragma GCC unroll 4
                for (int o = 0; o < 4; ++o) {
                    typename V::Bytes even[Width], odd[Width];
                    for (int p = 0; p < Width; ++p) {
                        const std::uint8_t* from = w + p * kPanelBytes + (i * 4 + o) * 2 * L::kBlock;
                        even[p] = V::load_bytes(from);
                        odd[p] = V::load_bytes(from + L::kBlock);
                        V::hold(even[p]);
                        V::hold(odd[p]);
                    }
                    for (int t = 0; t < Tile; ++t) {
                        const auto here = V::spread(x + t * kTileBytes, within + o);
                        for (int p = 0; p < Width; ++p) V::accumulate(sum[p][t], even[p], odd[p], here);
                    }
                }
            }
            for (int p = 0; p < Width; ++p) {
                const auto s = V::load(scale + (p * kGroups + i) * V::kWidth);
                for (int t = 0; t < Tile; ++t) {
                    float* out = y + t * kPanelRows + p * V::kWidth;
                    V::store(out, V::fma(V::to_float(sum[p][t]), s, V::load(out)));
                }
            }
        }
    }

    // One to V::kTile tokens.
    template <int Width, int Tile = V::kTile>
    void multiply_tile(int count, int panel, std::int64_t groups, float* y) const {
        if constexpr (Tile > 1) {
            if (count < Tile) return multiply_tile<Width, Tile - 1>(count, panel, groups, y);
        }
        multiply<Width, Tile>(panel, groups, y);
    }

    // One to kPanelTokens tokens into `sums`, without their scales.
    void product(const Matrix& m, std::int64_t first, std::int64_t count, const FastRows& x,
                 const std::int64_t* tokens, int tokens_count) {
        const auto panels = static_cast<int>((count + V::kWidth - 1) / V::kWidth);
        std::memset(sums, 0, tokens_count * kPanelRows * sizeof(float));
        const std::int64_t all = m.columns / kGroup;
        for (std::int64_t g = 0; g < all; g += kGroups) {
            const std::int64_t groups = g + kGroups < all ? kGroups : all - g;
            for (int p = 0; p < panels; ++p)
                fill(m, p, first + p * V::kWidth, count - p * V::kWidth, g, groups);
            for (int t = 0; t < tokens_count; t += V::kTile) {
                const int left = tokens_count - t;
                const int here = left < V::kTile ? left : V::kTile;
                gather(x, tokens + t, here, left - here < V::kTile ? left - here : V::kTile, g, groups);
                float* y = sums + t * kPanelRows;
                int p = 0;
                for (; p + V::kAbreast <= panels; p += V::kAbreast)
                    multiply_tile<V::kAbreast>(here, p, groups, y);
                for (; p < panels; ++p) multiply_tile<1>(here, p, groups, y);
            }
        }
    }
};

template <class V>
void fast_panel(const Matrix& m, std::int64_t first, std::int64_t count, const FastRows& x,
                const std::int64_t* tokens, std::int64_t tokens_count, float* y,
                std::int64_t stride, std::uint8_t* scratch) {
    Panel<V> panel(scratch);
    for (std::int64_t t = 0; t < tokens_count; t += kPanelTokens) {
        const std::int64_t left = tokens_count - t;
        const int here = static_cast<int>(left < kPanelTokens ? left : kPanelTokens);
        panel.product(m, first, count, x, tokens + t, here);
        for (int i = 0; i < here; ++i) {
            const float scale = x.scale[tokens[t + i]];
            const float* from = panel.sums + i * kPanelRows;
            float* to = y + (t + i) * stride;
            for (std::int64_t r = 0; r < count; ++r) to[r] = from[r] * scale;
        }
    }
}

}  // namespace
}  // namespace selenograph
