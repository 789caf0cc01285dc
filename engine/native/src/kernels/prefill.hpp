// Many queries of one head over a block of positions whose keys and values are there: the expanded
// form of multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1).
#pragma once

#include "flash.hpp"

namespace selenograph {
namespace {

template <class V>
class Prefill {
    using T = Flash<V>;

public:
    Prefill(const AttentionBlock& block, float* scratch)
        : b_(block),
          width_(b_.nope + b_.rope),
          key_stride_(flash_stride(width_)),
          value_stride_(flash_stride(b_.value)),
          columns_((b_.value + T::kOutColumns - 1) / T::kOutColumns * T::kOutColumns),
          panels_((b_.queries + T::kQueries - 1) / T::kQueries),
          queries_(scratch),
          out_(queries_ + whole(panels_ * T::kQueries * width_)),
          keys_(out_ + panels_ * T::kQueries * value_stride_),
          values_(keys_ + kFlashPositions * key_stride_),
          scores_(values_ + kFlashPositions * value_stride_),
          most_(scores_ + kFlashPositions * T::kQueries),
          total_(most_ + whole(panels_ * T::kQueries)) {}

    void run() {
        enter();
        for (std::int64_t l = 0; l < b_.count && l < b_.seen + b_.queries - 1; l += kFlashPositions) {
            const std::int64_t left = b_.count - l;
            const int count = static_cast<int>(left < kFlashPositions ? left : kFlashPositions);
            take(l, count);
            for (std::int64_t p = 0; p < panels_; ++p) {
                switch ((lanes(p) + V::kWidth - 1) / V::kWidth) {
                    case 1: attend<1>(p, l, count); break;
                    case 2: attend<2>(p, l, count); break;
                    default: attend<3>(p, l, count);
                }
            }
        }
        leave();
    }

private:
    static std::int64_t whole(std::int64_t floats) { return (floats + 15) / 16 * 16; }

    int lanes(std::int64_t panel) const {
        const std::int64_t left = b_.queries - panel * T::kQueries;
        return static_cast<int>(left < T::kQueries ? left : T::kQueries);
    }

    void enter() {
        std::memset(out_, 0, panels_ * T::kQueries * value_stride_ * 4);
        for (std::int64_t p = 0; p < panels_; ++p) {
            const std::int64_t q = p * T::kQueries;
            T::turn(b_.query + q * b_.query_stride, b_.query_stride, lanes(p), width_,
                    queries_ + q * width_);
            for (int i = 0; i < T::kQueries; ++i) {
                const std::int64_t from = q + i < b_.queries ? q + i : 0;
                most_[q + i] = b_.first ? kLeast : b_.most[from];
                total_[q + i] = b_.first ? 0.0f : b_.total[from];
            }
            if (b_.first) T::mark(queries_ + q * width_, width_, total_ + q);
        }
        for (std::int64_t q = 0; q < b_.queries && !b_.first; ++q)
            std::memcpy(out_ + q * value_stride_, b_.out + q * b_.out_stride, b_.value * 4);
    }

    // Keys and values of a few positions side by side: where they come from rows lie a power of
    // two apart, which a cache takes badly.
    void take(std::int64_t first, int count) {
        for (int l = 0; l < count; ++l) {
            const float* key = b_.key + (first + l) * b_.key_stride;
            const float* value = b_.values + (first + l) * b_.key_stride;
            const auto* ahead = reinterpret_cast<const std::uint8_t*>(key + kAhead * b_.key_stride);
            for (std::int64_t byte = 0; byte < (b_.nope + b_.value) * 4; byte += 64)
                V::prefetch(ahead + byte);
            float* to = keys_ + l * key_stride_;
            std::memcpy(to, key, b_.nope * 4);
            std::memcpy(to + b_.nope, b_.rotary + (first + l) * b_.rotary_stride, b_.rope * 4);
            std::memcpy(values_ + l * value_stride_, value, b_.value * 4);
        }
    }

    template <int Vectors>
    void attend(std::int64_t panel, std::int64_t position, int count) {
        const std::int64_t q = panel * T::kQueries;
        const std::int64_t all = b_.seen + q - position;   // positions that the first query sees
        const std::int64_t most = all + lanes(panel) - 1;
        const int seen = static_cast<int>(most < count ? most : count);
        if (seen <= 0) return;
        T::template score<Vectors>(keys_, key_stride_, seen, queries_ + q * width_, width_, b_.scale,
                                   scores_);
        for (std::int64_t l = all > 0 ? all : 0; l < seen; ++l)
            for (std::int64_t i = 0; i <= l - all && i < Vectors * V::kWidth; ++i)
                scores_[l * T::kQueries + i] = -INFINITY;
        alignas(64) float fade[T::kQueries];
        T::template soften<Vectors>(scores_, seen, most_ + q, total_ + q, fade);
        T::gather(scores_, seen, fade, values_, value_stride_, columns_, lanes(panel),
                  out_ + q * value_stride_, value_stride_);
    }

    void leave() {
        for (std::int64_t q = 0; q < b_.queries; ++q) {
            const float by = b_.last ? 1.0f / total_[q] : 1.0f;
            const float* from = out_ + q * value_stride_;
            float* to = b_.out + q * b_.out_stride;
            for (std::int64_t v = 0; v < b_.value; ++v) to[v] = from[v] * by;
            b_.most[q] = most_[q];
            b_.total[q] = total_[q];
        }
    }

    static constexpr std::int64_t kAhead = 3;

    const AttentionBlock& b_;
    const std::int64_t width_, key_stride_, value_stride_, columns_, panels_;
    float *const queries_, *const out_, *const keys_, *const values_, *const scores_, *const most_,
        *const total_;
};

template <class V>
void attend_block(const AttentionBlock& block, float* scratch) {
    Prefill<V>(block, scratch).run();
}

}  // namespace
}  // namespace selenograph
