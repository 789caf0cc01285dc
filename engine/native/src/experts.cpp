#include "experts.hpp"

#include <algorithm>
#include <numeric>

namespace selenograph {
namespace {

constexpr std::int64_t kBlockRows = 32;    // rows of an item
constexpr std::int64_t kBatch = 128;       // tokens whose sums a thread holds at once
enum Phase { kQuantiseInput, kGateUp, kQuantiseInner, kDown };

std::int64_t blocks(std::int64_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }

struct Sums {
    static constexpr std::int64_t kMost =
        std::max<std::int64_t>(kBatch * kPanelRows, kTokenTile * kDotRows);
    Aligned<float> gate{kMost};
    Aligned<float> up{kMost};
};

Sums& sums() {
    thread_local Sums own;
    return own;
}

bool any_fast(Mode mode, const Layer& layer) {
    const auto one = [mode](const Expert& e) { return takes_fast(mode, e.gate.format); };
    return std::any_of(layer.experts.begin(), layer.experts.end(), one) ||
           std::any_of(layer.shared.begin(), layer.shared.end(), one);
}

bool inner_fast(Mode mode, const std::vector<Expert>& experts) {
    return std::any_of(experts.begin(), experts.end(),
                       [mode](const Expert& e) { return takes_fast(mode, e.down.format); });
}

}  // namespace

ForwardJob::ForwardJob(const Isa& isa, Mode mode, std::shared_ptr<const Layer> layer,
                       std::int64_t tokens, std::int64_t top_k, const std::int32_t* ids,
                       const float* weights)
    : isa_(isa),
      mode_(mode),
      layer_(std::move(layer)),
      tokens_(tokens),
      token_(tokens * (top_k + layer_->shared.size())),
      weight_(token_.size()),
      row_(token_.size()),
      input_(isa, tokens, layer_->hidden, any_fast(mode, *layer_), Begin::unset),
      inner_(isa, tokens * top_k, layer_->experts.empty() ? 0 : layer_->experts[0].inter(),
             inner_fast(mode, layer_->experts), Begin::unset),
      output_(tokens * layer_->hidden, Begin::unset) {
    // Sort the T*K choices by expert, keeping the tokens' order (counting sort).
    std::vector<std::int64_t> end(layer_->experts.size() + 1);
    for (std::int64_t i = 0; i < tokens * top_k; ++i) ++end[ids[i] + 1];
    std::partial_sum(end.begin(), end.end(), end.begin());
    for (std::size_t e = 0; e + 1 < end.size(); ++e)
        if (end[e] < end[e + 1])
            add_share(layer_->experts[e], inner_, end[e], end[e], end[e + 1]);
    for (std::int64_t i = 0; i < tokens * top_k; ++i) {
        const std::int64_t place = end[ids[i]]++;
        token_[place] = i / top_k;
        weight_[place] = weights[i];
    }
    std::iota(row_.begin(), row_.end(), 0);
    shared_inner_.reserve(layer_->shared.size());  // shares point into it
    for (std::size_t s = 0; s < layer_->shared.size() && tokens > 0; ++s) {
        const Expert& expert = layer_->shared[s];
        shared_inner_.emplace_back(isa, tokens, expert.inter(), fast(expert.down), Begin::unset);
        const std::int64_t begin = tokens * (top_k + static_cast<std::int64_t>(s));
        for (std::int64_t t = 0; t < tokens; ++t) {
            token_[begin + t] = t;
            weight_[begin + t] = 1.0f;
        }
        add_share(expert, shared_inner_.back(), 0, begin, begin + tokens);
    }
}

void ForwardJob::add_share(const Expert& expert, ActivationRows& inner, std::int64_t inner_row,
                           std::int64_t begin, std::int64_t end) {
    shares_.push_back({&expert, &inner, inner_row, begin, end, blocks_});
    blocks_ += blocks(expert.inter());
}

std::int64_t ForwardJob::items(int phase) const {
    switch (phase) {
        case kQuantiseInput: return input_.fast() && !shares_.empty() ? tokens_ : 0;
        case kGateUp: return blocks_;
        case kQuantiseInner: {
            std::int64_t rows = inner_.fast() ? inner_.rows() : 0;
            for (const ActivationRows& inner : shared_inner_) rows += inner.fast() ? inner.rows() : 0;
            return rows;
        }
        default: return tokens_ > 0 ? blocks(layer_->hidden) : 0;
    }
}

std::int64_t ForwardJob::longest_run(int phase) const {
    if (phase == kQuantiseInput || phase == kQuantiseInner) return 8;
    return (tokens_ <= kTokenTile ? kDotRows : kPanelRows) / kBlockRows;
}

void ForwardJob::run(int phase, std::int64_t first, std::int64_t count) {
    switch (phase) {
        case kQuantiseInput:
            for (std::int64_t t = first; t < first + count; ++t) input_.quantise(t);
            return;
        case kGateUp: return gate_up(first, count);
        case kQuantiseInner:
            for (std::int64_t r = first; r < first + count; ++r) quantise_inner(r);
            return;
        default: {
            const std::int64_t row = first * kBlockRows;
            return down(row, std::min(count * kBlockRows, layer_->hidden - row));
        }
    }
}

void ForwardJob::quantise_inner(std::int64_t row) {
    if (inner_.fast()) {
        if (row < inner_.rows()) return inner_.quantise(row);
        row -= inner_.rows();
    }
    for (ActivationRows& inner : shared_inner_) {
        if (!inner.fast()) continue;
        if (row < inner.rows()) return inner.quantise(row);
        row -= inner.rows();
    }
}

void ForwardJob::gate_up(std::int64_t first, std::int64_t count) {
    while (count > 0 && !aborted()) {
        const auto after = std::upper_bound(
            shares_.begin(), shares_.end(), first,
            [](std::int64_t block, const Share& share) { return block < share.block; });
        const Share& share = *(after - 1);
        const std::int64_t inter = share.expert->inter();
        const std::int64_t here = std::min(count, share.block + blocks(inter) - first);
        const std::int64_t row = (first - share.block) * kBlockRows;
        gate_up(share, row, std::min(here * kBlockRows, inter - row));
        first += here;
        count -= here;
    }
}

void ForwardJob::gate_up(const Share& share, std::int64_t first_row, std::int64_t rows) {
    Sums& own = sums();
    float* gate = own.gate.get();
    float* up = own.up.get();
    for (std::int64_t i = share.begin; i < share.end && !aborted(); i += kBatch) {
        const std::int64_t count = std::min(kBatch, share.end - i);
        dot(isa_, share.expert->gate, first_row, rows, input_, fast(share.expert->gate), &token_[i],
            count, gate, rows);
        dot(isa_, share.expert->up, first_row, rows, input_, fast(share.expert->up), &token_[i],
            count, up, rows);
        for (std::int64_t t = 0; t < count; ++t) {
            float* out = share.inner->row(share.inner_row + i - share.begin + t) + first_row;
            isa_.silu_multiply(gate + t * rows, up + t * rows, rows, out);
        }
    }
}

void ForwardJob::down(std::int64_t first_row, std::int64_t rows) {
    float* part = sums().gate.get();
    for (std::int64_t t = 0; t < tokens_; ++t)
        std::memset(output_.get() + t * layer_->hidden + first_row, 0, rows * sizeof(float));
    for (const Share& share : shares_) {
        for (std::int64_t i = share.begin; i < share.end; i += kBatch) {
            if (aborted()) return;
            const std::int64_t count = std::min(kBatch, share.end - i);
            dot(isa_, share.expert->down, first_row, rows, *share.inner, fast(share.expert->down),
                &row_[share.inner_row + i - share.begin], count, part, rows);
            for (std::int64_t t = 0; t < count; ++t) {
                float* out = output_.get() + token_[i + t] * layer_->hidden + first_row;
                const float weight = weight_[i + t];
                for (std::int64_t r = 0; r < rows; ++r) out[r] += weight * part[t * rows + r];
            }
        }
    }
}

}  // namespace selenograph
