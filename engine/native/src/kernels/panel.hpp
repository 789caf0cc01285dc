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

    std::uint8_t* weights;         // [kPanels][kOctets][2][kBlock]
    float* scales;                 // [kPanels][kGroups][kWidth]

    explicit Panel(std::uint8_t* scratch)
        : weights(scratch), scales(reinterpret_cast<float*>(scratch + kPanels * kPanelBytes)) {}

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

    // Adds to y[t][panel rows] for Tile tokens and Width neighbouring panels.
    template <int Width, int Tile>
    void multiply(int panel, std::int64_t g, std::int64_t groups, const FastRows& x,
                  const std::int64_t* tokens, float* y, std::int64_t stride) const {
        const std::uint8_t* w = weights + panel * kPanelBytes;
        const float* scale = scales + panel * kGroups * V::kWidth;
        const std::uint8_t* data[Tile];
        const std::int32_t* offset[Tile];
        for (int t = 0; t < Tile; ++t) {
            data[t] = x.data + tokens[t] * x.stride;
            offset[t] = x.offset + tokens[t] * x.offsets + g;
        }
        for (std::int64_t i = 0; i < groups; ++i) {
            typename V::Ints sum[Width][Tile];
            for (int t = 0; t < Tile; ++t)
                for (int p = 0; p < Width; ++p) sum[p][t] = V::splat_int(offset[t][i]);
            constexpr int kPerBlock = L::kBlock / 4;               // octets
            const std::int64_t octet = (g + i) * 4;
            const std::int64_t at = octet / kPerBlock * L::kSpan;
            const int within = static_cast<int>(octet % kPerBlock);
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
                    const auto here = V::spread(data[t] + at, within + o);
                    for (int p = 0; p < Width; ++p) V::accumulate(sum[p][t], even[p], odd[p], here);
                }
            }
            for (int p = 0; p < Width; ++p) {
                const auto s = V::load(scale + (p * kGroups + i) * V::kWidth);
                for (int t = 0; t < Tile; ++t) {
                    float* out = y + t * stride + p * V::kWidth;
                    V::store(out, V::fma(V::to_float(sum[p][t]), s, V::load(out)));
                }
            }
        }
    }

    // One to V::kTile tokens.
    template <int Width, int Tile = V::kTile>
    void multiply_tile(int tile, int panel, std::int64_t g, std::int64_t groups, const FastRows& x,
                       const std::int64_t* tokens, float* y, std::int64_t stride) const {
        if constexpr (Tile > 1) {
            if (tile < Tile)
                return multiply_tile<Width, Tile - 1>(tile, panel, g, groups, x, tokens, y, stride);
        }
        multiply<Width, Tile>(panel, g, groups, x, tokens, y, stride);
    }
};

template <class V>
void fast_panel(const Matrix& m, std::int64_t first, std::int64_t count, const FastRows& x,
                const std::int64_t* tokens, std::int64_t tokens_count, float* y,
                std::int64_t stride, std::uint8_t* scratch) {
    using P = Panel<V>;
    P panel(scratch);
    const std::int64_t panels = (count + V::kWidth - 1) / V::kWidth;
    alignas(64) float sums[V::kTile * kPanelRows] = {};
    for (std::int64_t t = 0; t < tokens_count; ++t) std::memset(y + t * stride, 0, count * 4);
    const std::int64_t all = m.columns / kGroup;
    for (std::int64_t g = 0; g < all; g += P::kGroups) {
        const std::int64_t groups = g + P::kGroups < all ? P::kGroups : all - g;
        for (std::int64_t p = 0; p < panels; ++p)
            panel.fill(m, p, first + p * V::kWidth, count - p * V::kWidth, g, groups);
        for (std::int64_t t = 0; t < tokens_count; t += V::kTile) {
            const std::int64_t left = tokens_count - t;
            const int tile = static_cast<int>(left < V::kTile ? left : V::kTile);
            const bool whole = count == kPanelRows;
            float* out = whole ? y + t * stride : sums;
            const std::int64_t step = whole ? stride : kPanelRows;
            if (!whole)
                for (int i = 0; i < tile; ++i)
                    std::memcpy(sums + i * kPanelRows, y + (t + i) * stride, count * 4);
            std::int64_t p = 0;
            for (; p + V::kAbreast <= panels; p += V::kAbreast)
                panel.template multiply_tile<V::kAbreast>(tile, p, g, groups, x, tokens + t,
                                                out + p * V::kWidth, step);
            for (; p < panels; ++p)
                panel.template multiply_tile<1>(tile, p, g, groups, x, tokens + t,
                                                out + p * V::kWidth, step);
            if (!whole)
                for (int i = 0; i < tile; ++i)
                    std::memcpy(y + (t + i) * stride, sums + i * kPanelRows, count * 4);
        }
    }
    for (std::int64_t t = 0; t < tokens_count; ++t)
        for (std::int64_t r = 0; r < count; ++r) y[t * stride + r] *= x.scale[tokens[t]];
}

}  // namespace
}  // namespace selenograph
