// One query token of all heads over a stretch of compressed latents, in the absorbed form of
// multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1): every head reads the same
// row of R latent and P rotary-key values; its values are the latent part.
//
// Softmax runs along (Milakov & Gimelshein 2018, arXiv:1805.02867): `most` is the largest score so
// far, `total` the sum of exp(score - most), `context` the sum of exp(score - most) * latent. A
// stretch goes on from what these hold; before the first: -inf, 0, 0.
#pragma once

#include "../isa.hpp"
#include "silu.hpp"

namespace selenograph {
namespace {

constexpr int kPositions = 32;     // rows taken at a time
constexpr int kHeads = 4;          // heads that share the loading of a row

template <class V, bool Narrow>
inline typename V::Floats load_latent(const std::uint8_t* row, std::int64_t column) {
    if constexpr (Narrow) {
        return V::load_bf16(row + 2 * column);
    } else {
        return V::load(reinterpret_cast<const float*>(row) + column);
    }
}

// scores[h][l] = scale * dot(query h, row l) for up to kHeads heads.
template <class V, bool Narrow, int Heads>
void score(const LatentStretch& s, const std::uint8_t* rows, int count, const float* query,
           float (*scores)[kPositions]) {
    const std::int64_t width = s.rank + s.rope;
    const std::int64_t whole = width / V::kWidth * V::kWidth;
    for (int l = 0; l < count; ++l) {
        const std::uint8_t* row = rows + l * s.row_bytes;
        typename V::Floats sum[Heads];
        for (auto& each : sum) each = V::zero();
        for (std::int64_t c = 0; c < whole; c += V::kWidth) {
            const auto value = load_latent<V, Narrow>(row, c);
            for (int h = 0; h < Heads; ++h)
                sum[h] = V::fma(V::load(query + h * width + c), value, sum[h]);
        }
        for (int h = 0; h < Heads; ++h) {
            float all = V::sum(sum[h]);
            for (std::int64_t c = whole; c < width; ++c)
                all += query[h * width + c] *
                       (Narrow ? load_bf16(row + 2 * c) : load_float(row + 4 * c));
            scores[h][l] = all * s.scale;
        }
    }
}

// context[h] += sum over l of weights[h][l] * row l.
template <class V, bool Narrow, int Heads>
void gather(const LatentStretch& s, const std::uint8_t* rows, int count,
            const float (*weights)[kPositions], float* context) {
    const std::int64_t whole = s.rank / V::kWidth * V::kWidth;
    for (std::int64_t c = 0; c < whole; c += V::kWidth) {
        typename V::Floats sum[Heads];
        for (int h = 0; h < Heads; ++h) sum[h] = V::load(context + h * s.rank + c);
        for (int l = 0; l < count; ++l) {
            const auto value = load_latent<V, Narrow>(rows + l * s.row_bytes, c);
            for (int h = 0; h < Heads; ++h)
                sum[h] = V::fma(V::splat(weights[h][l]), value, sum[h]);
        }
        for (int h = 0; h < Heads; ++h) V::store(context + h * s.rank + c, sum[h]);
    }
    for (std::int64_t c = whole; c < s.rank; ++c)
        for (int l = 0; l < count; ++l) {
            const std::uint8_t* row = rows + l * s.row_bytes;
            const float value = Narrow ? load_bf16(row + 2 * c) : load_float(row + 4 * c);
            for (int h = 0; h < Heads; ++h) context[h * s.rank + c] += weights[h][l] * value;
        }
}

template <class V>
void exponentials(float* x, int count, float minus) {
    alignas(64) float padded[kPositions] = {};
    std::memcpy(padded, x, count * 4);
    for (int i = 0; i < kPositions; i += V::kWidth)
        V::store(padded + i, exponential<V>(V::add(V::load(padded + i), V::splat(-minus))));
    std::memcpy(x, padded, count * 4);
}

template <class V, bool Narrow, int Heads>
void attend_heads(const LatentStretch& s, const float* query, float* most, float* total,
                  float* context) {
    alignas(64) float scores[Heads][kPositions];
    for (std::int64_t l = 0; l < s.count; l += kPositions) {
        const int count = static_cast<int>(s.count - l < kPositions ? s.count - l : kPositions);
        const std::uint8_t* rows = s.rows + l * s.row_bytes;
        score<V, Narrow, Heads>(s, rows, count, query, scores);
        for (int h = 0; h < Heads; ++h) {
            float high = most[h];
            for (int i = 0; i < count; ++i) high = scores[h][i] > high ? scores[h][i] : high;
            if (high > most[h] && total[h] > 0.0f) {
                const float fade = std::exp(most[h] - high);
                total[h] *= fade;
                for (std::int64_t c = 0; c < s.rank; ++c) context[h * s.rank + c] *= fade;
            }
            most[h] = high;
            exponentials<V>(scores[h], count, high);
            for (int i = 0; i < count; ++i) total[h] += scores[h][i];
        }
        gather<V, Narrow, Heads>(s, rows, count, scores, context);
    }
}

template <class V, bool Narrow>
void attend_all(const LatentStretch& s, const float* query, float* most, float* total,
                float* context) {
    const std::int64_t width = s.rank + s.rope;
    std::int64_t h = 0;
    for (; h + kHeads <= s.heads; h += kHeads)
        attend_heads<V, Narrow, kHeads>(s, query + h * width, most + h, total + h,
                                        context + h * s.rank);
    for (; h < s.heads; ++h)
        attend_heads<V, Narrow, 1>(s, query + h * width, most + h, total + h, context + h * s.rank);
}

template <class V>
void attend(const LatentStretch& s, const float* query, float* most, float* total, float* context) {
    if (s.narrow) return attend_all<V, true>(s, query, most, total, context);
    return attend_all<V, false>(s, query, most, total, context);
}

}  // namespace
}  // namespace selenograph
