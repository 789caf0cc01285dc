// INT4 rows against activations of two INT8 terms for many tokens, on the tiles of AMX: the kernel of
// prefill where there are any.
//
// A tile product has 64 columns, a group of weights 32: so each weight stands twice, times 16 and
// plain, against an activation 16 * high + low of twelve bits. That needs no second accumulator, and
// with one scale a group (here even an outlying channel spoils no other) its error is a tenth of the
// INT8 form's. A tile of 16 tokens by 16 rows holds the exact int32 sum of one group, which meets
// the group's two scales on its way into float32 registers.
//
// This form follows the form of FastRows in a row: for each group (their number rounded up to 16) a
// float32 scale, a multiple of the row's; then for each 64 bytes in four runs of 16: high of the even
// columns, high of the odd ones, low of the even, low of the odd.
//
// The exact sum: 32 * (8 * 127 * 16 + 8 * 8) < 2^31.
#pragma once

#include "../isa.hpp"
#include "quantise_avx512.hpp"
#include "zmm_set.hpp"

namespace selenograph {
namespace {

constexpr int kTileSide = 16;          // rows of a tile, and int32 in one
constexpr int kTileRow = 64;           // bytes
constexpr int kTileGroups = kPanelColumns / kGroup;
constexpr int kTilePanels = kPanelRows / kTileSide;
constexpr int kTwelveBits = 127 * 16 + 7;

constexpr int kFirstForm = 48;         // bytes a group of columns takes in FastRows
constexpr int kBothForms = kFirstForm + 4 + kTileRow;

struct TileForm {
    std::int64_t scales, groups;       // where they begin in a row of so many groups
    explicit TileForm(std::int64_t count) : scales(count * kFirstForm), groups(scales + count * 4) {}
};

struct TileConfig {                    // as the processor reads it
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
    TileConfig() {
        for (int i = 0; i < 8; ++i) {
            row_bytes[i] = kTileRow;
            rows[i] = kTileSide;
        }
    }
};
static_assert(sizeof(TileConfig) == 64, "");

// The tile instructions do not tell the compiler which memory they read.
inline void load_tile_config() {
    const TileConfig config;
    hold_memory(&config);
    _tile_loadconfig(&config);
}

inline void put_tile_group(const float* x, float largest, std::uint8_t* out) {
    const __m256 inverse = _mm256_set1_ps(static_cast<float>(kTwelveBits) / largest);
    alignas(32) std::int32_t v[kGroup];
    for (int c = 0; c < kGroup; c += 8)
        _mm256_store_si256(reinterpret_cast<__m256i*>(v + c),
                           _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + c), inverse)));
    for (int c = 0; c < kGroup / 2; ++c) {
        const std::int32_t even = v[2 * c], odd = v[2 * c + 1];
        const std::int32_t high_even = (even + 8) >> 4, high_odd = (odd + 8) >> 4;
        out[c] = static_cast<std::uint8_t>(high_even);
        out[16 + c] = static_cast<std::uint8_t>(high_odd);
        out[32 + c] = static_cast<std::uint8_t>(even - 16 * high_even);
        out[48 + c] = static_cast<std::uint8_t>(odd - 16 * high_odd);
    }
}

inline void put_tile_row(const float* x, std::int64_t columns, float scale, std::uint8_t* data) {
    const std::int64_t groups = columns / kGroup;
    const TileForm at((groups + 15) / 16 * 16);
    for (std::int64_t g = 0; g < groups; ++g) {
        const float* here = x + g * kGroup;
        float largest = 0.0f;
        for (int c = 0; c < kGroup; ++c) largest = larger(largest, std::fabs(here[c]));
        const bool any = largest >= kNoValue;
        const float share = any ? largest / (static_cast<float>(kTwelveBits) * scale) : 0.0f;
        std::memcpy(data + at.scales + g * 4, &share, 4);
        if (any) put_tile_group(here, largest, data + at.groups + g * kTileRow);
    }
}

inline float quantise_row_amx(const float* x, std::int64_t columns, std::uint8_t* data,
                              std::int32_t* offset) {
    const float scale = quantise_row_avx512(x, columns, data, offset);
    if (scale > 0.0f) put_tile_row(x, columns, scale, data);
    return scale;
}

template <class V>
class TilePanel {
public:
    // Rows first .. first + 16, those from `count` on repeated from the last.
    void fill(const Matrix& m, int panel, std::int64_t first, std::int64_t count, std::int64_t g,
              std::int64_t groups) {
        const std::int64_t wide = m.columns / kGroup;
        const std::uint8_t* rows[kTileSide];
        for (int r = 0; r < kTileSide; ++r) {
            const std::int64_t row = first + (r < count ? r : count - 1);
            rows[r] = m.data + (row * wide + g) * 16;
            const std::uint8_t* s = m.scales + (row * wide + g) * 2;
            for (std::int64_t i = 0; i < groups; ++i) scales_[panel][i][r] = load_bf16(s + 2 * i);
        }
        for (std::int64_t i = 0; i < groups; i += 4) {
            __m512i turned[kTileSide];
            if (i + 4 <= groups) {
                V::turn(rows, i * 16, turned);
            } else {
                std::uint8_t padded[kTileSide][kTileRow] = {};
                const std::uint8_t* starts[kTileSide];
                for (int r = 0; r < kTileSide; ++r) {
                    std::memcpy(padded[r], rows[r] + i * 16, (groups - i) * 16);
                    starts[r] = padded[r];
                }
                V::turn(starts, 0, turned);
            }
            for (int o = 0; o < kTileSide; ++o) unpack(turned[o], weights_[panel][i + o / 4], o % 4);
        }
    }

    // The activations of up to 16 tokens, each tile's rows one behind the other.
    void gather(const FastRows& x, const std::int64_t* tokens, int count, TileForm at,
                std::int64_t g, std::int64_t groups) {
        for (int t = 0; t < count; ++t) {
            const std::uint8_t* row = x.data + tokens[t] * x.stride;
            const std::uint8_t* from = row + at.groups + g * kTileRow;
            for (std::int64_t i = 0; i < groups; ++i) {
                V::store_bytes(x_[i][t], V::load_bytes(from + i * kTileRow));
                std::memcpy(&x_scales_[i][t], row + at.scales + (g + i) * 4, 4);
            }
        }
    }

    // Adds to y[t][r] for `count` tokens and `rows` rows, at most 16 each.
    void multiply(int panel, int count, std::int64_t rows, std::int64_t groups, float* y,
                  std::int64_t stride, bool begin) {
        const auto mask = static_cast<__mmask16>((1u << rows) - 1);
        __m512 sum[kTileSide];         // in registers, if no loop over it stays one
#pragma GCC unroll 16
        for (int t = 0; t < kTileSide; ++t)
            sum[t] = begin || t >= count ? V::zero() : _mm512_maskz_loadu_ps(mask, y + t * stride);
        for (std::int64_t i = 0; i < groups; ++i) {
            const std::int32_t(*product)[kTileSide] = products_[i % 2];
            multiply(x_[i], weights_[panel][i], products_[i % 2]);
            const __m512 scale = V::load(scales_[panel][i]);
#pragma GCC unroll 16
            for (int t = 0; t < kTileSide; ++t)
                sum[t] = V::fma(V::to_float(V::load_ints(product[t])),
                                V::mul(scale, V::splat(x_scales_[i][t])), sum[t]);
        }
#pragma GCC unroll 16
        for (int t = 0; t < kTileSide; ++t)
            if (t < count) _mm512_mask_storeu_ps(y + t * stride, mask, sum[t]);
    }

private:
    using Tile = std::uint8_t[kTileSide][kTileRow];

    static void multiply(const Tile& x, const Tile& weights, void* product) {
        hold_memory(x);
        hold_memory(weights);
        _tile_loadd(0, x, kTileRow);
        _tile_loadd(1, weights, kTileRow);
        _tile_zero(2);
        _tile_dpbssd(2, 0, 1);
        _tile_stored(2, product, kTileRow);
        hold_memory(product);
    }

    // Octet `o` of a group: nibbles less 8, times 16 and plain.
    static void unpack(__m512i turned, Tile& tile, int o) {
        const __m512i upper = _mm512_set1_epi8(static_cast<char>(0xf0));
        const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
        const __m512i eight = _mm512_set1_epi8(8);
        const __m512i even = _mm512_and_si512(_mm512_slli_epi16(turned, 4), upper);
        V::store_bytes(tile[o], _mm512_xor_si512(even, sign));
        V::store_bytes(tile[4 + o], _mm512_xor_si512(_mm512_and_si512(turned, upper), sign));
        V::store_bytes(tile[8 + o], _mm512_sub_epi8(V::low(turned), eight));
        V::store_bytes(tile[12 + o], _mm512_sub_epi8(V::high(turned), eight));
    }

    alignas(64) Tile weights_[kTilePanels][kTileGroups];
    alignas(64) Tile x_[kTileGroups] = {};
    alignas(64) std::int32_t products_[2][kTileSide][kTileSide];   // in turn, so that none waits
    alignas(64) float scales_[kTilePanels][kTileGroups][kTileSide];
    float x_scales_[kTileGroups][kTileSide] = {};
};

template <class V>
void amx_panel(const Matrix& m, std::int64_t first, std::int64_t count, const FastRows& x,
               const std::int64_t* tokens, std::int64_t tokens_count, float* y, std::int64_t stride,
               std::uint8_t*) {
    const std::int64_t all = m.columns / kGroup;
    const TileForm at(x.stride / kBothForms);
    TilePanel<V> panel;
    load_tile_config();
    for (std::int64_t g = 0; g < all; g += kTileGroups) {
        const std::int64_t groups = g + kTileGroups < all ? kTileGroups : all - g;
        for (int p = 0; p * kTileSide < count; ++p)
            panel.fill(m, p, first + p * kTileSide, count - p * kTileSide, g, groups);
        for (std::int64_t t = 0; t < tokens_count; t += kTileSide) {
            const std::int64_t left = tokens_count - t;
            const int here = static_cast<int>(left < kTileSide ? left : kTileSide);
            panel.gather(x, tokens + t, here, at, g, groups);
            for (int p = 0; p * kTileSide < count; ++p) {
                const std::int64_t rest = count - p * kTileSide;
                panel.multiply(p, here, rest < kTileSide ? rest : kTileSide, groups,
                               y + t * stride + p * kTileSide, stride, g == 0);
            }
        }
    }
    _tile_release();
    for (std::int64_t t = 0; t < tokens_count; ++t)
        for (std::int64_t r = 0; r < count; ++r) y[t * stride + r] *= x.scale[tokens[t]];
}

}  // namespace
}  // namespace selenograph
