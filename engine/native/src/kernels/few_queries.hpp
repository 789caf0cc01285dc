// One to four queries over pages of latents: bound by the reading of them, so that a row is used as it
// is stored, once for scores and, while it is still in the cache, once for values.
//
// The lanes go along a row. Of bf16 a vector of words is taken as its even and its odd values, one
// instruction each; queries are put in that order beforehand, and the result is put back.
#pragma once

#include "latent_row.hpp"
#include "silu.hpp"

namespace selenograph {
namespace {

// A form of rows: half a pair of vectors from column `c`, latents or (Keys) rotary keys; one column;
// where a column of a pair lies in it. kApart: keys have another form than latents.
template <class V>
struct WideRow {                   // float32
    static constexpr std::int64_t kBytes = 4;
    static constexpr bool kApart = false;

    explicit WideRow(const LatentQueries&) {}
    template <int Half, bool Keys>
    typename V::Floats half(const std::uint8_t* row, std::int64_t c) const {
        return V::load(reinterpret_cast<const float*>(row) + c + Half * V::kWidth);
    }
    float one(const std::uint8_t* row, std::int64_t c) const { return load_float(row + 4 * c); }
    int place(std::int64_t, int column) const { return column; }
};

template <class V>
struct NarrowRow {                 // bf16
    static constexpr std::int64_t kBytes = 2;
    static constexpr bool kApart = false;

    explicit NarrowRow(const LatentQueries&) {}
    template <int Half, bool Keys>
    typename V::Floats half(const std::uint8_t* row, std::int64_t c) const {
        return Half == 0 ? V::even_bf16(row + 2 * c) : V::odd_bf16(row + 2 * c);
    }
    float one(const std::uint8_t* row, std::int64_t c) const { return load_bf16(row + 2 * c); }
    int place(std::int64_t, int column) const { return column / 2 + column % 2 * V::kWidth; }
};

template <class V>
struct ScaledRow {                 // int8 latents, bf16 keys, scales; whole pairs of latents
    static constexpr std::int64_t kBytes = 1;
    static constexpr bool kApart = true;

    explicit ScaledRow(const LatentQueries& q) : rank_(q.rank), scales_(q.rank + 2 * q.rope) {}
    template <int Half, bool Keys>
    typename V::Floats half(const std::uint8_t* row, std::int64_t c) const {
        if constexpr (Keys) return keys_.template half<Half, true>(row + rank_, c - rank_);
        return V::mul(V::load_int8(row + c + Half * V::kWidth), V::splat(scale(row, c)));
    }
    float one(const std::uint8_t* row, std::int64_t c) const {
        if (c >= rank_) return load_bf16(row + rank_ + 2 * (c - rank_));
        return static_cast<float>(static_cast<std::int8_t>(row[c])) * scale(row, c);
    }
    int place(std::int64_t c, int column) const { return c < rank_ ? column : keys_.place(c, column); }

private:
    float scale(const std::uint8_t* row, std::int64_t c) const {
        return load_float(row + scales_ + c / kLatentGroup * 4);
    }

    const std::int64_t rank_, scales_;
    const NarrowRow<V> keys_{LatentQueries{}};
};

template <class V, class Row, int Queries>
class FewQueries {
    using Floats = typename V::Floats;
    static constexpr int kWidth = V::kWidth;
    static constexpr int kPair = 2 * kWidth;
    // Taken at a time, within a page: so many that they stay in the first cache.
    static constexpr int kRows = kWidth > 32 / Row::kBytes ? kWidth : 32 / Row::kBytes;
    // Eight sums hide the latency; more of them share what is loaded and unpacked for them.
    static constexpr int kTileSums = V::kSums * 2 / 3;
    static constexpr int kAtOnce = (kTileSums + Queries - 1) / Queries;    // rows of a tile of scores
    static constexpr int kOutPairs = kTileSums / 2 / Queries;
    static_assert(Queries <= 4);
    static_assert(kPageTokens % kRows == 0 && kRows % kWidth == 0);

public:
    FewQueries(const LatentQueries& queries, float* scratch)
        : q_(queries),
          row_(queries),
          width_(q_.rank + q_.rope),
          pairs_(width_ / kPair * kPair),
          out_pairs_(q_.rank / kPair * kPair),
          alike_(Row::kApart ? q_.rank : pairs_),
          query_(scratch),
          out_(scratch + (Queries * width_ + 15) / 16 * 16) {
        std::memset(out_, 0, Queries * q_.rank * 4);
        for (int h = 0; h < Queries; ++h) {
            const float* from = q_.query + h * width_;
            float* to = query_ + h * width_;
            Floats bad = V::zero();
            for (std::int64_t c = 0; c < pairs_; c += kPair) {
                for (int i = 0; i < kPair; ++i) to[c + row_.place(c, i)] = from[c + i];
                bad = V::fma(V::load(to + c), V::zero(), bad);
                bad = V::fma(V::load(to + c + kWidth), V::zero(), bad);
            }
            total_[h] = V::sum(bad);
            for (std::int64_t c = pairs_; c < width_; ++c) {
                to[c] = from[c];
                total_[h] += from[c] * 0.0f;
            }
            most_[h] = kLeast;
        }
    }

    // Rows of positions position .. position + count <= kRows; `next` will be asked for.
    void take(const std::uint8_t* rows, std::int64_t stride, std::int64_t position, int count,
              const std::uint8_t* next) {
        score(rows, stride, count, next);
        soften(position, count);
        gather(rows, stride, count, next);
    }

    static constexpr int most_rows() { return kRows; }

    void leave() {
        for (int h = 0; h < Queries; ++h) {
            const float* from = out_ + h * q_.rank;
            float* to = q_.context + h * q_.rank;
            for (std::int64_t c = 0; c < out_pairs_; c += kPair)
                for (int i = 0; i < kPair; ++i) to[c + i] = from[c + row_.place(c, i)];
            for (std::int64_t c = out_pairs_; c < q_.rank; ++c) to[c] = from[c];
            q_.most[h] = most_[h];
            q_.total[h] = total_[h];
        }
    }

private:
    void score(const std::uint8_t* rows, std::int64_t stride, int count, const std::uint8_t* next) {
        int l = 0;
        for (; l + kAtOnce <= count; l += kAtOnce)
            score_rows<kAtOnce>(rows + l * stride, stride, l, next + l * stride);
        for (; l + 2 <= count; l += 2) score_rows<2>(rows + l * stride, stride, l, next + l * stride);
        for (; l < count; ++l) score_rows<1>(rows + l * stride, stride, l, next + l * stride);
        // Lanes into their sums, kWidth rows at a time.
        for (int h = 0; h < Queries; ++h) {
            for (int first = 0; first < count; first += kWidth) {
                const std::uint8_t* from[kWidth];
                for (int i = 0; i < kWidth; ++i)
                    from[i] = reinterpret_cast<const std::uint8_t*>(
                        lanes_[h][first + i < count ? first + i : first]);
                typename V::Bytes turned[kWidth];
                V::turn(from, 0, turned);
                alignas(64) float parts[kWidth][kWidth];
                for (int i = 0; i < kWidth; ++i)
                    V::store_bytes(reinterpret_cast<std::uint8_t*>(parts[i]), turned[i]);
                Floats sum = V::load(parts[0]);
                for (int i = 1; i < kWidth; ++i) sum = V::add(sum, V::load(parts[i]));
                V::store(scores_[h] + first, V::mul(sum, V::splat(q_.scale)));
            }
        }
    }

    template <int Rows>
    void score_rows(const std::uint8_t* rows, std::int64_t stride, int l, const std::uint8_t* next) {
        Floats sum[Queries][Rows];
        for (int h = 0; h < Queries; ++h)
            for (int r = 0; r < Rows; ++r) sum[h][r] = V::zero();
        for (std::int64_t c = 0; c < alike_; c += kPair) {
            for (int r = 0; r < Rows; ++r)
                if (r % 2 == 0 || c >= q_.rank) V::prefetch(next + r * stride + c * Row::kBytes);
            score_half<0, false>(rows, stride, c, sum);
            score_half<1, false>(rows, stride, c, sum);
        }
        for (std::int64_t c = alike_; c < pairs_; c += kPair) {
            for (int r = 0; r < Rows; ++r) V::prefetch(next + r * stride + 2 * c - alike_);
            score_half<0, true>(rows, stride, c, sum);
            score_half<1, true>(rows, stride, c, sum);
        }
        for (int h = 0; h < Queries; ++h)
            for (int r = 0; r < Rows; ++r) {
                V::store(lanes_[h][l + r], sum[h][r]);
                for (std::int64_t c = pairs_; c < width_; ++c)
                    lanes_[h][l + r][0] += query_[h * width_ + c] * row_.one(rows + r * stride, c);
            }
    }

    template <int Half, bool Keys, int Rows>
    void score_half(const std::uint8_t* rows, std::int64_t stride, std::int64_t c,
                    Floats (&sum)[Queries][Rows]) const {
        Floats value[Rows];
        for (int r = 0; r < Rows; ++r) value[r] = row_.template half<Half, Keys>(rows + r * stride, c);
        for (int h = 0; h < Queries; ++h) {
            Floats query = V::load(query_ + h * width_ + c + Half * kWidth);
            V::hold(query);        // or it is loaded again for each row
            for (int r = 0; r < Rows; ++r) sum[h][r] = V::fma(query, value[r], sum[h][r]);
        }
    }

    void soften(std::int64_t position, int count) {
        for (int h = 0; h < Queries; ++h) {
            float* scores = scores_[h];
            const std::int64_t seen = q_.seen + h / q_.each - position;
            const int end = static_cast<int>(seen < count ? (seen > 0 ? seen : 0) : count);
            for (int l = end; l < kRows; ++l) scores[l] = -INFINITY;
            Floats high = V::splat(most_[h]);
            for (int l = 0; l < kRows; l += kWidth) high = V::max(high, V::load(scores + l));
            alignas(64) float lanes[kWidth];
            V::store(lanes, high);
            float most = lanes[0];
            for (const float lane : lanes) most = lane > most ? lane : most;
            const float fade = most > most_[h] ? std::exp(most_[h] - most) : 1.0f;
            most_[h] = most;
            Floats sum = V::zero();
            for (int l = 0; l < kRows; l += kWidth) {
                const Floats weight = exponential<V>(V::add(V::load(scores + l), V::splat(-most)));
                V::store(scores + l, weight);
                sum = V::add(sum, weight);
            }
            total_[h] = total_[h] * fade + V::sum(sum);
            if (fade == 1.0f) continue;
            float* out = out_ + h * q_.rank;
            for (std::int64_t c = 0; c < q_.rank; ++c) out[c] *= fade;
        }
    }

    void gather(const std::uint8_t* rows, std::int64_t stride, int count, const std::uint8_t* next) {
        std::int64_t c = 0;
        for (; c + kOutPairs * kPair <= out_pairs_; c += kOutPairs * kPair)
            gather_pairs<kOutPairs>(rows, stride, count, c, next);
        for (; c < out_pairs_; c += kPair) gather_pairs<1>(rows, stride, count, c, next);
        for (; c < q_.rank; ++c)
            for (int h = 0; h < Queries; ++h)
                for (int l = 0; l < count; ++l)
                    out_[h * q_.rank + c] += scores_[h][l] * row_.one(rows + l * stride, c);
    }

    template <int Pairs>
    void gather_pairs(const std::uint8_t* rows, std::int64_t stride, int count, std::int64_t c,
                      const std::uint8_t* next) {
        Floats sum[Queries][2 * Pairs];
        for (int h = 0; h < Queries; ++h)
            for (int j = 0; j < 2 * Pairs; ++j) sum[h][j] = V::load(out_ + h * q_.rank + c + j * kWidth);
        int l = 0;
        for (; l + 2 <= count; l += 2) {
            for (int p = 0; p < Pairs; ++p)
                V::prefetch(next + (l + 1) * stride + (c + p * kPair) * Row::kBytes);
            gather_row<Pairs>(rows + l * stride, l, c, sum);
            gather_row<Pairs>(rows + (l + 1) * stride, l + 1, c, sum);
        }
        if (l < count) gather_row<Pairs>(rows + l * stride, l, c, sum);
        for (int h = 0; h < Queries; ++h)
            for (int j = 0; j < 2 * Pairs; ++j) V::store(out_ + h * q_.rank + c + j * kWidth, sum[h][j]);
    }

    template <int Pairs>
    void gather_row(const std::uint8_t* row, int l, std::int64_t c,
                    Floats (&sum)[Queries][2 * Pairs]) const {
        Floats value[2 * Pairs];
        for (int p = 0; p < Pairs; ++p) {
            value[2 * p] = row_.template half<0, false>(row, c + p * kPair);
            value[2 * p + 1] = row_.template half<1, false>(row, c + p * kPair);
        }
        for (int h = 0; h < Queries; ++h) {
            const Floats weight = V::splat(scores_[h][l]);
            for (int j = 0; j < 2 * Pairs; ++j) sum[h][j] = V::fma(weight, value[j], sum[h][j]);
        }
    }

    const LatentQueries& q_;
    const Row row_;
    const std::int64_t width_, pairs_, out_pairs_, alike_;
    float *const query_, *const out_;
    float most_[Queries], total_[Queries];
    alignas(64) float lanes_[Queries][kRows][kWidth];
    alignas(64) float scores_[Queries][kRows] = {};
};

template <class V, class Row, int Queries>
void few_rows(const LatentPages& pages, const LatentQueries& q, float* scratch) {
    FewQueries<V, Row, Queries> few(q, scratch);
    constexpr int kRows = FewQueries<V, Row, Queries>::most_rows();
    // INT8 rows that do not come in whole pairs are widened first.
    const bool widened = pages.form == LatentForm::int8 && !Row::kApart;
    const std::int64_t stride = widened ? flash_stride(q.rank + q.rope) * 4 : pages.row_bytes;
    float* wide = scratch + latent_scratch(0, q.rank, q.rope) - kRows * flash_stride(q.rank + q.rope);
    for (std::int64_t at = q.begin; at < q.end;) {
        const std::int64_t border = (at / kRows + 1) * kRows;
        const int count = static_cast<int>((border < q.end ? border : q.end) - at);
        const bool more = border + kRows <= q.end && !widened;
        const std::uint8_t* rows = widened ? reinterpret_cast<const std::uint8_t*>(wide) : pages.row(at);
        for (int l = 0; widened && l < count; ++l)
            widen_latent<V>(pages, at + l, q.rank, q.rope, wide + l * (stride / 4));
        few.take(rows, stride, at, count, more ? pages.row(border) : rows);
        at += count;
    }
    few.leave();
}

template <class V, int Queries = kFewQueries>
void attend_few(const LatentPages& pages, const LatentQueries& q, float* scratch) {
    if constexpr (Queries > 1) {
        if (q.count < Queries) return attend_few<V, Queries - 1>(pages, q, scratch);
    }
    if (pages.form == LatentForm::bf16) return few_rows<V, NarrowRow<V>, Queries>(pages, q, scratch);
    if (pages.form == LatentForm::int8 && q.rank % (2 * V::kWidth) == 0)
        return few_rows<V, ScaledRow<V>, Queries>(pages, q, scratch);
    few_rows<V, WideRow<V>, Queries>(pages, q, scratch);
}

}  // namespace
}  // namespace selenograph
