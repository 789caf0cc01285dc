// Queries over pages of compressed latents, in the absorbed form of multi-head latent attention
// (DeepSeek-V2, arXiv:2405.04434, section 2.1): all heads read the same row of R latent and P
// rotary-key values; its values are the latent part. Decode, and chunks of few tokens.
//
// Many queries are bound by arithmetic: a few rows are widened once and serve all of them, with the
// tiles of flash.hpp. Few are bound by memory: few_queries.hpp.
#pragma once

#include "few_queries.hpp"
#include "flash.hpp"

namespace selenograph {
namespace {

template <class V>
class ManyQueries {
    using T = Flash<V>;

public:
    ManyQueries(const LatentPages& pages, const LatentQueries& queries, float* scratch)
        : pages_(pages),
          q_(queries),
          width_(q_.rank + q_.rope),
          row_stride_(flash_stride(width_)),
          out_stride_(flash_stride(q_.rank)),
          columns_((q_.rank + T::kOutColumns - 1) / T::kOutColumns * T::kOutColumns),
          panels_((q_.count + T::kQueries - 1) / T::kQueries),
          queries_(scratch),
          out_(queries_ + whole(panels_ * T::kQueries * width_)),
          rows_(out_ + panels_ * T::kQueries * out_stride_),
          scores_(rows_ + kPageTokens * row_stride_),
          most_(scores_ + kPageTokens * T::kQueries),
          total_(most_ + whole(panels_ * T::kQueries)) {}

    void run() {
        enter();
        for (std::int64_t at = q_.begin; at < q_.end;) {
            const std::int64_t border = (at / kPageTokens + 1) * kPageTokens;
            const int count = static_cast<int>((border < q_.end ? border : q_.end) - at);
            for (int l = 0; l < count; ++l)
                widen_latent<V>(pages_, at + l, q_.rank, q_.rope, rows_ + l * row_stride_);
            for (std::int64_t p = 0; p < panels_; ++p) {
                switch ((lanes(p) + V::kWidth - 1) / V::kWidth) {
                    case 1: attend<1>(p, at, count); break;
                    case 2: attend<2>(p, at, count); break;
                    default: attend<3>(p, at, count);
                }
            }
            at += count;
        }
        leave();
    }

private:
    static std::int64_t whole(std::int64_t floats) { return (floats + 15) / 16 * 16; }

    int lanes(std::int64_t panel) const {
        const std::int64_t left = q_.count - panel * T::kQueries;
        return static_cast<int>(left < T::kQueries ? left : T::kQueries);
    }

    void enter() {
        std::memset(out_, 0, panels_ * T::kQueries * out_stride_ * 4);
        for (std::int64_t p = 0; p < panels_; ++p) {
            const std::int64_t q = p * T::kQueries;
            T::turn(q_.query + q * width_, width_, lanes(p), width_, queries_ + q * width_);
            for (int i = 0; i < T::kQueries; ++i) {
                most_[q + i] = kLeast;
                total_[q + i] = 0.0f;
            }
            T::mark(queries_ + q * width_, width_, total_ + q);
        }
    }

    template <int Vectors>
    void attend(std::int64_t panel, std::int64_t position, int count) {
        const std::int64_t q = panel * T::kQueries;
        T::template score<Vectors>(rows_, row_stride_, count, queries_ + q * width_, width_, q_.scale,
                                   scores_);
        for (int i = 0; i < Vectors * V::kWidth && position + count > q_.seen + q / q_.each; ++i) {
            const std::int64_t seen = q_.seen + (q + i) / q_.each - position;
            for (std::int64_t l = seen > 0 ? seen : 0; l < count; ++l)
                scores_[l * T::kQueries + i] = -INFINITY;
        }
        alignas(64) float fade[T::kQueries];
        T::template soften<Vectors>(scores_, count, most_ + q, total_ + q, fade);
        T::gather(scores_, count, fade, rows_, row_stride_, columns_, lanes(panel),
                  out_ + q * out_stride_, out_stride_);
    }

    void leave() {
        for (std::int64_t q = 0; q < q_.count; ++q)
            std::memcpy(q_.context + q * q_.rank, out_ + q * out_stride_, q_.rank * 4);
        std::memcpy(q_.most, most_, q_.count * 4);
        std::memcpy(q_.total, total_, q_.count * 4);
    }

    const LatentPages& pages_;
    const LatentQueries& q_;
    const std::int64_t width_, row_stride_, out_stride_, columns_, panels_;
    float *const queries_, *const out_, *const rows_, *const scores_, *const most_, *const total_;
};

template <class V>
void attend(const LatentPages& pages, const LatentQueries& queries, float* scratch) {
    if (queries.count <= kFewQueries) return attend_few<V>(pages, queries, scratch);
    ManyQueries<V>(pages, queries, scratch).run();
}

}  // namespace
}  // namespace selenograph
