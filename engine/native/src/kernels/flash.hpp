// The parts of flash attention (Dao et al. 2022, arXiv:2205.14135): scores of a panel of queries
// against a few keys, softmax along (Milakov & Gimelshein 2018, arXiv:1805.02867), weighted values.
//
// Queries lie across the lanes. A panel holds three vectors of them, column after column, and keys
// are broadcast: so only the queries have to be turned, once, keys and values stay as they lie, and
// softmax adds nothing up across lanes. Of a vector set V:
//   kSums                          accumulators that fit into the registers beside what they meet
//   turn, store_bytes              kWidth rows of kWidth floats, transposed
//   max, clamp, fma, ...           as everywhere
//
// The three steps are functions of their own: in one, the compiler gives a tile's registers to the
// constants of exp, a tenth of the speed.
//
// `most` is a query's largest score so far, `total` its sum of exp(score - most), `out` its sum of
// exp(score - most) * value. A query that is not finite gets a total that is no number.
#pragma once

#include "../isa.hpp"
#include "silu.hpp"

namespace selenograph {
namespace {

constexpr int kDepth = 96;         // columns of a panel of queries that stay in the first cache

template <class V>
struct Flash {
    using Floats = typename V::Floats;
    static constexpr int kWidth = V::kWidth;
    static constexpr int kQueries = 3 * kWidth;         // of a panel
    static constexpr int kScoreRows = V::kSums / 3;     // keys of a tile of scores
    static constexpr int kOutRows = V::kSums / 2;       // queries of a tile of outputs
    static constexpr int kOutColumns = 2 * kWidth;      // and its values
    static_assert(kQueries % kOutRows == 0 && kQueries <= kFlashQueries);
    static_assert(kFlashPositions % kScoreRows == 0 && kFlashColumns % kOutColumns == 0);

    // rows [count <= kQueries] of `width` values -> panel [width][kQueries]. Lanes without a row
    // repeat the first.
    static void turn(const float* rows, std::int64_t stride, int count, std::int64_t width,
                     float* panel) {
        for (int first = 0; first < kQueries; first += kWidth) {
            const std::uint8_t* from[kWidth];
            for (int i = 0; i < kWidth; ++i)
                from[i] = reinterpret_cast<const std::uint8_t*>(
                    rows + (first + i < count ? first + i : 0) * stride);
            std::int64_t c = 0;
            for (; c + kWidth <= width; c += kWidth) {
                typename V::Bytes turned[kWidth];
                V::turn(from, c * 4, turned);
                for (int i = 0; i < kWidth; ++i)
                    V::store_bytes(reinterpret_cast<std::uint8_t*>(panel + (c + i) * kQueries + first),
                                   turned[i]);
            }
            for (; c < width; ++c)
                for (int i = 0; i < kWidth; ++i)
                    panel[c * kQueries + first + i] = load_float(from[i] + c * 4);
        }
    }

    // Adds NaN to the totals of those queries of a panel that are not finite, else zero.
    static void mark(const float* panel, std::int64_t width, float* total) {
        for (int first = 0; first < kQueries; first += kWidth) {
            Floats bad = V::load(total + first);
            for (std::int64_t c = 0; c < width; ++c)
                bad = V::fma(V::load(panel + c * kQueries + first), V::zero(), bad);
            V::store(total + first, bad);
        }
    }

    // scores[l][q] = scale * sum of keys[l][c] * panel[c][q] for `count` keys, rounded up to whole
    // tiles, and `Vectors` vectors of queries.
    template <int Vectors>
    [[gnu::noinline]] static void score(const float* keys, std::int64_t stride, int count, const float* panel,
                      std::int64_t width, float scale, float* scores) {
        for (std::int64_t c = 0; c < width; c += kDepth) {
            const std::int64_t depth = c + kDepth < width ? kDepth : width - c;
            const float last = c + kDepth < width ? 1.0f : scale;
            for (int l = 0; l < count; l += kScoreRows)
                score_tile<Vectors>(keys + l * stride + c, stride, panel + c * kQueries, depth, c == 0,
                                    last, scores + l * kQueries);
        }
    }

    // Scores of `count` positions to weights; `fade` is what earlier weights shrink by.
    template <int Vectors>
    [[gnu::noinline]] static void soften(float* scores, int count, float* most, float* total, float* fade) {
        Floats high[Vectors], minus[Vectors], sum[Vectors];
        for (int j = 0; j < Vectors; ++j) high[j] = V::load(most + j * kWidth);
        for (int l = 0; l < count; ++l)
            for (int j = 0; j < Vectors; ++j)
                high[j] = V::max(high[j], V::load(scores + l * kQueries + j * kWidth));
        for (int j = 0; j < Vectors; ++j) {
            minus[j] = V::mul(high[j], V::splat(-1.0f));
            const Floats less = exponential<V>(V::add(V::load(most + j * kWidth), minus[j]));
            V::store(fade + j * kWidth, less);
            V::store(most + j * kWidth, high[j]);
            sum[j] = V::mul(V::load(total + j * kWidth), less);
        }
        for (int l = 0; l < count; ++l) {
            float* row = scores + l * kQueries;
            for (int j = 0; j < Vectors; ++j) {
                const Floats weight =
                    exponential<V>(V::add(V::load(row + j * kWidth), minus[j]));
                V::store(row + j * kWidth, weight);
                sum[j] = V::add(sum[j], weight);
            }
        }
        for (int j = 0; j < Vectors; ++j) V::store(total + j * kWidth, sum[j]);
    }

    // out[q][v] = fade[q] * out[q][v] + sum of weights[l][q] * values[l][v] for `queries` queries,
    // rounded up to whole tiles, and whole kOutColumns of `columns`.
    [[gnu::noinline]] static void gather(const float* weights, int count, const float* fade, const float* values,
                       std::int64_t stride, std::int64_t columns, int queries, float* out,
                       std::int64_t out_stride) {
        for (std::int64_t v = 0; v < columns; v += kOutColumns)
            for (int q = 0; q < queries; q += kOutRows)
                out_tile(weights + q, count, fade + q, values + v, stride, out + q * out_stride + v,
                         out_stride);
    }

private:
    template <int Vectors>
    static void score_tile(const float* keys, std::int64_t stride, const float* panel,
                           std::int64_t depth, bool first, float scale, float* scores) {
        Floats sum[kScoreRows][Vectors];
        for (int r = 0; r < kScoreRows; ++r)
            for (int j = 0; j < Vectors; ++j)
                sum[r][j] = first ? V::zero() : V::load(scores + r * kQueries + j * kWidth);
        for (std::int64_t c = 0; c < depth; ++c) {
            Floats query[Vectors];
            for (int j = 0; j < Vectors; ++j) query[j] = V::load(panel + c * kQueries + j * kWidth);
            for (int r = 0; r < kScoreRows; ++r) {
                const Floats key = V::splat(keys[r * stride + c]);
                for (int j = 0; j < Vectors; ++j) sum[r][j] = V::fma(key, query[j], sum[r][j]);
            }
        }
        for (int r = 0; r < kScoreRows; ++r)
            for (int j = 0; j < Vectors; ++j)
                V::store(scores + r * kQueries + j * kWidth, V::mul(sum[r][j], V::splat(scale)));
    }

    static void out_tile(const float* weights, int count, const float* fade, const float* values,
                         std::int64_t stride, float* out, std::int64_t out_stride) {
        Floats sum[kOutRows][2];
        for (int r = 0; r < kOutRows; ++r)
            for (int j = 0; j < 2; ++j)
                sum[r][j] = V::mul(V::load(out + r * out_stride + j * kWidth), V::splat(fade[r]));
        for (int l = 0; l < count; ++l) {
            const Floats low = V::load(values + l * stride);
            const Floats high = V::load(values + l * stride + kWidth);
            for (int r = 0; r < kOutRows; ++r) {
                const Floats weight = V::splat(weights[l * kQueries + r]);
                sum[r][0] = V::fma(weight, low, sum[r][0]);
                sum[r][1] = V::fma(weight, high, sum[r][1]);
            }
        }
        for (int r = 0; r < kOutRows; ++r)
            for (int j = 0; j < 2; ++j) V::store(out + r * out_stride + j * kWidth, sum[r][j]);
    }
};

}  // namespace
}  // namespace selenograph
