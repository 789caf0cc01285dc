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
//   kPanelFrom                  tokens from which this outruns fast.hpp
//   kKeeps                      whether their float sums fit there too
//   even_bf16(at), odd_bf16(at) of kWidth pairs of values
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
    // Scales of many rows are turned like weights; those of few are faster taken one by one, beside
    // which the vector units have other work.
    static constexpr bool kTurnsScales = V::kWidth >= 16;
    static constexpr int kScales = kTurnsScales ? L::kBlock / 2 : kGroups;   // held at a time
    static_assert(kScales <= kPanelScales && kScales % kGroups == 0, "");

    static constexpr int kTileBytes = kPanelColumns / kGroup * 48; // a token's activations

    std::uint8_t* weights;         // [kPanels][kOctets][2][kBlock]
    float* scales;                 // [kPanels][kScales][kWidth]
    float* sums;                   // [kPanelTokens][kPanelRows]
    const float* here;             // the scales of the columns that are unpacked
    // A tile's activations side by side: a loop with few addresses keeps them all in registers.
    alignas(64) std::uint8_t tile[V::kTile * kTileBytes];
    std::int32_t offsets[kGroups][V::kTile];

    explicit Panel(std::uint8_t* scratch)
        : weights(scratch),
          scales(reinterpret_cast<float*>(scratch + kPanels * kPanelBytes)),
          sums(scales + kPanelRows * kScales),
          here(scales) {}

    // Rows first .. first + kWidth, those from `count` on repeated from the last; up to
    // kPanelColumns columns from group `g`.
    void fill(const Matrix& m, int panel, std::int64_t first, std::int64_t count, std::int64_t g,
              std::int64_t groups) {
        const std::int64_t wide = m.columns / kGroup;
        std::uint8_t* out = weights + panel * kPanelBytes;
        const std::uint8_t* rows[V::kWidth];
        for (int r = 0; r < V::kWidth; ++r) {
            const std::int64_t row = first + (r < count ? r : count - 1);
            rows[r] = m.data + (row * wide + g) * 16;
            // The next columns of a row come soon; their first touch should not wait for memory.
            V::prefetch(rows[r] + groups * 16);
            V::prefetch(rows[r] + groups * 16 + 64);
        }
        const std::int64_t bytes = groups * 16;
        for (std::int64_t at = 0; at < bytes; at += L::kBlock) {
            typename V::Bytes turned[L::kBlock / 4];
            turn(rows, at, bytes, turned);
            for (int o = 0; o < L::kBlock / 4; ++o) {
                typename V::Bytes even, odd;
                V::unpack_turned(turned[o], even, odd);
                V::store_bytes(out + (at / 4 + o) * 2 * L::kBlock, even);
                V::store_bytes(out + ((at / 4 + o) * 2 + 1) * L::kBlock, odd);
            }
        }
    }

    // Likewise the scales of up to kScales groups from `g`.
    void fill_scales(const Matrix& m, int panel, std::int64_t first, std::int64_t count,
                     std::int64_t g) {
        const std::int64_t wide = m.columns / kGroup;
        const std::int64_t bytes = 2 * (kScales < wide - g ? kScales : wide - g);
        float* out = scales + panel * kScales * V::kWidth;
        const std::uint8_t* rows[V::kWidth];
        for (int r = 0; r < V::kWidth; ++r) {
            rows[r] = m.scales + ((first + (r < count ? r : count - 1)) * wide + g) * 2;
            if (kTurnsScales) V::prefetch(rows[r] + bytes);
        }
        if constexpr (kTurnsScales) {
            typename V::Bytes turned[L::kBlock / 4];
            turn(rows, 0, bytes, turned);
            for (int pair = 0; pair < L::kBlock / 4; ++pair) {
                std::uint8_t both[L::kBlock];
                V::store_bytes(both, turned[pair]);
                V::store(out + 2 * pair * V::kWidth, V::even_bf16(both));
                V::store(out + (2 * pair + 1) * V::kWidth, V::odd_bf16(both));
            }
        } else {
            for (int r = 0; r < V::kWidth; ++r)
                for (std::int64_t i = 0; i < bytes / 2; ++i)
                    out[i * V::kWidth + r] = load_bf16(rows[r] + 2 * i);
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
        const float* scale = here + panel * kScales * V::kWidth;
        y += panel * V::kWidth;
        typename V::Floats kept[Width][Tile];
        if constexpr (V::kKeeps)
            for (int t = 0; t < Tile; ++t)
                for (int p = 0; p < Width; ++p)
                    kept[p][t] = V::load(y + t * kPanelRows + p * V::kWidth);
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
                const auto s = V::load(scale + (p * kScales + i) * V::kWidth);
                for (int t = 0; t < Tile; ++t) {
                    const auto product = V::to_float(sum[p][t]);
                    if constexpr (V::kKeeps) {
                        kept[p][t] = V::fma(product, s, kept[p][t]);
                        V::hold(kept[p][t]);
                    } else {
                        float* out = y + t * kPanelRows + p * V::kWidth;
                        V::store(out, V::fma(product, s, V::load(out)));
                    }
                }
            }
        }
        if constexpr (V::kKeeps)
            for (int t = 0; t < Tile; ++t)
                for (int p = 0; p < Width; ++p)
                    V::store(y + t * kPanelRows + p * V::kWidth, kept[p][t]);
    }

    // One to V::kTile tokens.
    template <int Width, int Tile = V::kTile>
    void multiply_tile(int count, int panel, std::int64_t groups, float* y) const {
        if constexpr (Tile > 1) {
            if (count < Tile) return multiply_tile<Width, Tile - 1>(count, panel, groups, y);
        }
        multiply<Width, Tile>(panel, groups, y);
    }

    // kBlock bytes of each row from `at`; beyond `bytes`: zeros.
    static void turn(const std::uint8_t* const* rows, std::int64_t at, std::int64_t bytes,
                     typename V::Bytes* turned) {
        if (at + L::kBlock <= bytes) return V::turn(rows, at, turned);
        std::uint8_t padded[V::kWidth][L::kBlock] = {};
        const std::uint8_t* starts[V::kWidth];
        for (int r = 0; r < V::kWidth; ++r) {
            std::memcpy(padded[r], rows[r] + at, bytes - at);
            starts[r] = padded[r];
        }
        V::turn(starts, 0, turned);
    }

    // One to kPanelTokens tokens into `sums`, without their scales.
    void product(const Matrix& m, std::int64_t first, std::int64_t count, const FastRows& x,
                 const std::int64_t* tokens, int tokens_count) {
        const auto panels = static_cast<int>((count + V::kWidth - 1) / V::kWidth);
        std::memset(sums, 0, tokens_count * kPanelRows * sizeof(float));
        const std::int64_t all = m.columns / kGroup;
        for (std::int64_t g = 0; g < all; g += kGroups) {
            const std::int64_t groups = g + kGroups < all ? kGroups : all - g;
            here = scales + g % kScales * V::kWidth;
            for (int p = 0; p < panels; ++p) {
                if (here == scales) fill_scales(m, p, first + p * V::kWidth, count - p * V::kWidth, g);
                fill(m, p, first + p * V::kWidth, count - p * V::kWidth, g, groups);
            }
            for (int t = 0; t < tokens_count; t += V::kTile) {
                const int left = tokens_count - t;
                const int many = left < V::kTile ? left : V::kTile;
                gather(x, tokens + t, many, left - many < V::kTile ? left - many : V::kTile, g, groups);
                float* y = sums + t * kPanelRows;
                int p = 0;
                for (; p + V::kAbreast <= panels; p += V::kAbreast)
                    multiply_tile<V::kAbreast>(many, p, groups, y);
                for (; p < panels; ++p) multiply_tile<1>(many, p, groups, y);
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
