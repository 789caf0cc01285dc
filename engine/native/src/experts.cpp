#include "experts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace selenograph {

ActivationStore::ActivationStore(Mode mode, std::int64_t rows, std::int64_t width)
    : mode_(mode), groups_(width / kGroup) {
    if (mode == Mode::exact) {
        exact_.resize(rows * width);
    } else {
        quantised_.resize(rows * width);
        scale_.resize(rows * groups_);
        shift_.resize(rows * groups_);
    }
}

void ActivationStore::put(std::int64_t row, std::int64_t group, const float* values) {
    const std::int64_t at = row * groups_ + group;
    if (mode_ == Mode::exact) {
        float* out = exact_.data() + at * kGroup;
        for (int c = 0; c < kGroup; ++c) out[deinterleaved(c)] = values[c];
        return;
    }
    float largest = 0.0f;
    bool finite = true;
    for (int c = 0; c < kGroup; ++c) {
        largest = std::max(largest, std::fabs(values[c]));
        finite = finite && std::isfinite(values[c]);
    }
    std::int8_t* out = quantised_.data() + at * kGroup;
    // A non-finite input must not become a plausible number: it makes the whole group NaN.
    const float scale = finite ? largest / 127.0f : NAN;
    const float inverse = finite && scale > 0.0f ? 127.0f / largest : 0.0f;
    int sum = 0;
    for (int c = 0; c < kGroup; ++c) {
        const long rounded = finite ? std::lrint(values[c] * inverse) : 0;
        const int q = static_cast<int>(std::clamp(rounded, -127L, 127L));
        out[deinterleaved(c)] = static_cast<std::int8_t>(q);
        sum += q;
    }
    scale_[at] = scale;
    shift_[at] = 8.0f * scale * static_cast<float>(sum);
}

Activations ActivationStore::view() const {
    return {exact_.data(), quantised_.data(), scale_.data(), shift_.data(), groups_};
}

ForwardJob::ForwardJob(const Isa& isa, Mode mode, std::shared_ptr<const Layer> layer,
                       std::int64_t tokens, std::int64_t top_k, const std::int32_t* ids,
                       const float* weights)
    : dot_(mode == Mode::exact ? isa.exact : isa.fast),
      layer_(std::move(layer)),
      tokens_(tokens),
      token_(tokens * top_k),
      weight_(tokens * top_k),
      inner_row_(tokens * top_k),
      input_(mode, tokens, layer_->hidden),
      inner_(mode, tokens * top_k, layer_->inter),
      output_(std::max<std::int64_t>(1, tokens * layer_->hidden)) {  // never a null pointer
    // Sort the T*K choices by expert, keeping the tokens' order (counting sort).
    std::vector<std::int64_t> end(layer_->experts.size() + 1);
    for (std::int64_t i = 0; i < tokens * top_k; ++i) ++end[ids[i] + 1];
    std::partial_sum(end.begin(), end.end(), end.begin());
    for (std::size_t e = 0; e + 1 < end.size(); ++e)
        if (end[e] < end[e + 1]) shares_.push_back({&layer_->experts[e], end[e], end[e + 1]});
    for (std::int64_t i = 0; i < tokens * top_k; ++i) {
        const std::int64_t place = end[ids[i]]++;
        token_[place] = i / top_k;
        weight_[place] = weights[i];
    }
    std::iota(inner_row_.begin(), inner_row_.end(), 0);
}

std::int64_t ForwardJob::items(int phase) const {
    if (phase == 0) return shares_.size() * (layer_->inter / kRowBlock);
    return shares_.empty() ? 0 : layer_->hidden / kRowBlock;
}

void ForwardJob::run(int phase, std::int64_t item) {
    if (phase == 1) return down(item);
    const std::int64_t blocks = layer_->inter / kRowBlock;
    gate_up(shares_[item / blocks], item % blocks);
}

void ForwardJob::gate_up(const Share& share, std::int64_t block) {
    const Activations x = input_.view();
    float gate[kTokenTile * kRowBlock];
    float up[kTokenTile * kRowBlock];
    for (std::int64_t i = share.begin; i < share.end && !aborted(); i += kTokenTile) {
        const int count = static_cast<int>(std::min<std::int64_t>(kTokenTile, share.end - i));
        dot_(share.expert->gate, block * kRowBlock, x, &token_[i], count, gate);
        dot_(share.expert->up, block * kRowBlock, x, &token_[i], count, up);
        for (int n = 0; n < count * kRowBlock; ++n)
            gate[n] = gate[n] / (1.0f + std::exp(-gate[n])) * up[n];
        for (int t = 0; t < count; ++t) inner_.put(i + t, block, gate + t * kRowBlock);
    }
}

void ForwardJob::down(std::int64_t block) {
    const Activations h = inner_.view();
    float part[kTokenTile * kRowBlock];
    for (const Share& share : shares_) {
        for (std::int64_t i = share.begin; i < share.end; i += kTokenTile) {
            if (aborted()) return;
            const int count = static_cast<int>(std::min<std::int64_t>(kTokenTile, share.end - i));
            dot_(share.expert->down, block * kRowBlock, h, &inner_row_[i], count, part);
            for (int t = 0; t < count; ++t) {
                float* out = output_.data() + token_[i + t] * layer_->hidden + block * kRowBlock;
                for (int r = 0; r < kRowBlock; ++r)
                    out[r] += weight_[i + t] * part[t * kRowBlock + r];
            }
        }
    }
}

}  // namespace selenograph
