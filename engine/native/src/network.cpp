#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace selenograph {
namespace {

// The stations of a layer, in order; a station that a layer does not have has no items.
enum Station {
    kEnter,        // add the last layer's output, norm, quantise
    kDown,         // q_a (or q) and kv_a
    kQueryNorm,    // with a query down-projection: norm, quantise
    kQueryUp,      // and q_b
    kLatent,       // latent norm, rotation, into the cache; queries ready for key_up
    kAbsorb,       // each head's query into the latent space
    kAttend,
    kJoin,         // stretches into one; quantise
    kValueUp,
    kHeads,        // quantise all heads' values
    kOut,
    kLeave,        // residual, norm
    kScore,        // router
    kRoute,
    kExperts,      // the four phases of experts.hpp
    kStations = kExperts + 4
};

constexpr std::int64_t kBlock = 32;

std::int64_t blocks(std::int64_t rows) { return (rows + kBlock - 1) / kBlock; }

std::int64_t count_tokens(const std::vector<LatentPart>& parts) {
    return parts.empty() ? 0 : parts.back().first + parts.back().count;
}

template <class Get>
std::int64_t widest(const Network& network, Get get) {
    std::int64_t most = 0;
    for (const NetworkLayer& layer : network.layers) most = std::max<std::int64_t>(most, get(layer));
    return most;
}

bool any_int4(const Network& network, const std::initializer_list<Matrix AttentionWeights::*>& of) {
    for (const NetworkLayer& layer : network.layers)
        for (const auto member : of)
            if ((layer.attention.*member).format == Format::int4) return true;
    return false;
}

std::int64_t q_rank(const NetworkLayer& layer) {
    return layer.attention.q_a ? layer.attention.q_a->rows : 0;
}

bool enters_fast(const Network& n, Mode mode) {
    bool int4 = any_int4(n, {&AttentionWeights::kv_a, &AttentionWeights::q_b}) ||
                n.head.format == Format::int4;
    for (const NetworkLayer& l : n.layers)
        int4 = int4 || (l.attention.q_a && l.attention.q_a->format == Format::int4);
    return int4 && mode == Mode::fast;
}

bool fast_for(const Network& n, Mode mode, Matrix AttentionWeights::*member) {
    return mode == Mode::fast && any_int4(n, {member});
}

}  // namespace

StepJob::StepJob(const Isa& isa, Mode mode, std::shared_ptr<const Network> network,
                 std::vector<LatentPart> parts, int threads)
    : isa_(isa),
      mode_(mode),
      network_(std::move(network)),
      parts_(std::move(parts)),
      tokens_(count_tokens(parts_)),
      lora_(q_rank(network_->layers[0]) > 0),
      token_(tokens_ * shape().heads),
      x_(tokens_ * shape().hidden),
      cosine_(tokens_ * shape().rope / 2),
      sine_(tokens_ * shape().rope / 2),
      normed_(isa, tokens_, shape().hidden, enters_fast(*network_, mode)),
      q_low_(tokens_ * widest(*network_, q_rank)),
      q_low_normed_(isa, tokens_, widest(*network_, q_rank),
                    lora_ && fast_for(*network_, mode, &AttentionWeights::q_b)),
      q_(tokens_ * shape().heads * shape().head()),
      kv_(tokens_ * shape().latent()),
      q_nope_(isa, tokens_ * shape().heads, shape().nope,
              fast_for(*network_, mode, &AttentionWeights::key_up)),
      query_(tokens_ * shape().heads * shape().latent()),
      attention_(isa, {shape().heads, shape().rank, shape().rope, shape().softmax_scale}, parts_, threads),
      joined_(isa, tokens_ * shape().heads, shape().rank,
              fast_for(*network_, mode, &AttentionWeights::kv_b)),
      heads_(isa, tokens_, shape().heads * shape().value,
             fast_for(*network_, mode, &AttentionWeights::out)),
      attended_(tokens_ * shape().hidden),
      scores_(tokens_ * widest(*network_, [](const NetworkLayer& l) { return l.bias.size(); })),
      logits_(tokens_ * shape().vocab) {
    std::iota(token_.begin(), token_.end(), 0);
}

// After the layers: enter (the final norm) and down (the head).
int StepJob::phases() const { return static_cast<int>(network_->layers.size()) * kStations + 2; }

const NetworkLayer& StepJob::layer(int phase) const { return network_->layers[phase / kStations]; }

std::int64_t StepJob::items(int phase) const {
    const std::size_t index = phase / kStations;
    const int station = phase % kStations;
    if (tokens_ == 0) return 0;
    if (index == network_->layers.size())
        return station == kEnter ? tokens_ : blocks(shape().vocab);
    const NetworkLayer& layer = network_->layers[index];
    const AttentionWeights& a = layer.attention;
    switch (station) {
        case kDown: return blocks(lora_ ? a.q_a->rows : a.q_b.rows) + blocks(a.kv_a.rows);
        case kQueryNorm: return lora_ ? tokens_ : 0;
        case kQueryUp: return lora_ ? blocks(a.q_b.rows) : 0;
        case kAbsorb:
        case kValueUp: return shape().heads;
        case kAttend: return attention_.items();
        case kJoin: return tokens_ * shape().heads;
        case kOut: return blocks(shape().hidden);
        case kScore: return layer.router ? blocks(layer.router->rows) : 0;
        case kRoute: return 1;
        case kEnter:
        case kLatent:
        case kHeads:
        case kLeave: return tokens_;
        default: return mlp_->items(station - kExperts);
    }
}

std::int64_t StepJob::longest_run(int phase) const {
    const int station = phase % kStations;
    if (static_cast<std::size_t>(phase / kStations) == network_->layers.size())
        return station == kEnter ? 1 : kDotRows / kBlock;
    if (station >= kExperts) return mlp_->longest_run(station - kExperts);
    return station == kDown || station == kQueryUp || station == kOut ? kDotRows / kBlock : 1;
}

void StepJob::run(int phase, std::int64_t first, std::int64_t count) {
    const int index = phase / kStations;
    const int station = phase % kStations;
    const NetworkShape& s = shape();
    if (static_cast<std::size_t>(index) == network_->layers.size()) {
        if (station == kDown)
            return rows(network_->head, normed_, first, count, logits_.get(), s.vocab);
        for (std::int64_t t = first; t < first + count; ++t) {
            const float* added = mlp_->output() + t * s.hidden;
            float* x = x_.get() + t * s.hidden;
            for (std::int64_t c = 0; c < s.hidden; ++c) x[c] += added[c];
            normalise(x, network_->norm, s.eps, normed_.row(t));
            if (normed_.fast()) normed_.quantise(t);
            std::memcpy(x, normed_.row(t), s.hidden * 4);
        }
        return;
    }
    const NetworkLayer& layer = network_->layers[index];
    const AttentionWeights& a = layer.attention;
    const auto each = [first, count](auto work) {
        for (std::int64_t i = first; i < first + count; ++i) work(i);
    };
    switch (station) {
        case kEnter: return each([&](std::int64_t t) { enter_layer(layer, t); });
        case kDown: {
            const Matrix& query = lora_ ? *a.q_a : a.q_b;
            float* to = lora_ ? q_low_.get() : q_.get();
            const std::int64_t border = blocks(query.rows);
            const std::int64_t end = first + count;
            if (first < border)
                rows(query, normed_, first, std::min(end, border) - first, to, query.rows);
            if (end > border) {
                const std::int64_t from = std::max(first, border);
                rows(a.kv_a, normed_, from - border, end - from, kv_.get(), s.latent());
            }
            return;
        }
        case kQueryNorm:
            return each([&](std::int64_t t) {
                normalise(q_low_.get() + t * a.q_a->rows, a.q_a_norm, s.latent_eps,
                          q_low_normed_.row(t));
                if (q_low_normed_.fast()) q_low_normed_.quantise(t);
            });
        case kQueryUp: return rows(a.q_b, q_low_normed_, first, count, q_.get(), a.q_b.rows);
        case kLatent: return each([&](std::int64_t t) { take_latent(layer, index, t); });
        case kAbsorb: return each([&](std::int64_t h) { absorb(layer, h); });
        case kAttend:
            return each([&](std::int64_t item) { attention_.attend(index, item, query_.get()); });
        case kJoin: return each([&](std::int64_t item) { join(item); });
        case kValueUp:
            return each([&](std::int64_t h) {
                dot(isa_, a.kv_b, h * (s.nope + s.value) + s.nope, s.value, joined_, fast(a.kv_b),
                    &token_[h * tokens_], tokens_, heads_.row(0) + h * s.value, heads_.pitch());
            });
        case kHeads:
            return each([&](std::int64_t t) {
                if (heads_.fast()) heads_.quantise(t);
            });
        case kOut: return rows(a.out, heads_, first, count, attended_.get(), s.hidden);
        case kLeave: return each([&](std::int64_t t) { leave_attention(layer, t); });
        case kScore: return rows(*layer.router, normed_, first, count, scores_.get(), layer.router->rows);
        case kRoute: return route(layer, index);
        default: return mlp_->run(station - kExperts, first, count);
    }
}

void StepJob::rows(const Matrix& m, const ActivationRows& x, std::int64_t first, std::int64_t count,
                   float* y, std::int64_t stride) {
    const std::int64_t row = first * kBlock;
    dot(isa_, m, row, std::min(count * kBlock, m.rows - row), x, fast(m), token_.data(), tokens_,
        y + row, stride);
}

void StepJob::normalise(const float* x, const std::vector<float>& weight, float eps,
                        float* out) const {
    const auto width = static_cast<std::int64_t>(weight.size());
    float sums[8] = {};                            // lanes, for the compiler's vectors
    std::int64_t c = 0;
    for (; c + 8 <= width; c += 8)
        for (int i = 0; i < 8; ++i) sums[i] += x[c + i] * x[c + i];
    for (; c < width; ++c) sums[0] += x[c] * x[c];
    const float sum = std::accumulate(sums, sums + 8, 0.0f);
    const float scale = 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
    for (c = 0; c < width; ++c) out[c] = weight[c] * (x[c] * scale);
}

void StepJob::enter_layer(const NetworkLayer& layer, std::int64_t token) {
    float* x = x_.get() + token * shape().hidden;
    if (mlp_) {
        const float* added = mlp_->output() + token * shape().hidden;
        for (std::int64_t c = 0; c < shape().hidden; ++c) x[c] += added[c];
    }
    normalise(x, layer.attention.norm, shape().eps, normed_.row(token));
    if (normed_.fast()) normed_.quantise(token);
}

// Pairs are neighbours (2i, 2i + 1) or halves (i, i + rope / 2); turned ones come out as neighbours.
void StepJob::rotate(const float* in, std::int64_t token, float* out) const {
    const std::int64_t half = shape().rope / 2;
    const float* cosine = cosine_.get() + token * half;
    const float* sine = sine_.get() + token * half;
    for (std::int64_t i = 0; i < half; ++i) {
        const float a = shape().interleaved ? in[2 * i] : in[i];
        const float b = shape().interleaved ? in[2 * i + 1] : in[i + half];
        out[2 * i] = a * cosine[i] - b * sine[i];
        out[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
}

void StepJob::take_latent(const NetworkLayer& layer, int index, std::int64_t token) {
    const NetworkShape& s = shape();
    const float* kv = kv_.get() + token * s.latent();
    std::vector<float> fresh(s.latent());
    normalise(kv, layer.attention.kv_a_norm, s.latent_eps, fresh.data());
    rotate(kv + s.rank, token, fresh.data() + s.rank);
    const LatentPart& part = *std::find_if(
        parts_.begin(), parts_.end(), [&](const LatentPart& p) { return token < p.first + p.count; });
    store_latent(part.form, fresh.data(), s.rank, s.rope,
                 part.row(index, part.past + token - part.first));
    for (std::int64_t h = 0; h < s.heads; ++h) {
        const float* q = q_.get() + (token * s.heads + h) * s.head();
        const std::int64_t at = h * tokens_ + token;
        std::memcpy(q_nope_.row(at), q, s.nope * 4);
        if (q_nope_.fast()) q_nope_.quantise(at);
        rotate(q + s.nope, token, query_.get() + (token * s.heads + h) * s.latent() + s.rank);
    }
}

void StepJob::absorb(const NetworkLayer& layer, std::int64_t head) {
    const NetworkShape& s = shape();
    const Matrix& up = layer.attention.key_up;
    dot(isa_, up, head * s.rank, s.rank, q_nope_, fast(up), &token_[head * tokens_], tokens_,
        query_.get() + head * s.latent(), s.heads * s.latent());
}

void StepJob::join(std::int64_t item) {
    const std::int64_t token = item / shape().heads, head = item % shape().heads;
    const std::int64_t row = head * tokens_ + token;
    attention_.join(item, joined_.row(row));
    if (joined_.fast()) joined_.quantise(row);
}

void StepJob::leave_attention(const NetworkLayer& layer, std::int64_t token) {
    const std::int64_t hidden = shape().hidden;
    float* x = x_.get() + token * hidden;
    const float* added = attended_.get() + token * hidden;
    for (std::int64_t c = 0; c < hidden; ++c) x[c] += added[c];
    normalise(x, layer.norm, shape().eps, normed_.row(token));
    if (layer.router && fast(*layer.router)) normed_.quantise(token);
}

// DeepSeek-V3 (arXiv:2412.19437), section 2.1.2: the bias only chooses; of limited groups a group's
// score is the sum of its two best.
void StepJob::route(const NetworkLayer& layer, int) {
    const NetworkShape& s = shape();
    const std::int64_t top_k = layer.router ? s.top_k : 0;
    std::vector<std::int32_t> ids(tokens_ * top_k);
    std::vector<float> weights(tokens_ * top_k);
    const auto experts = static_cast<std::int64_t>(layer.bias.size());
    std::vector<float> score(experts), choice(experts);
    for (std::int64_t t = 0; t < tokens_ && layer.router; ++t) {
        for (std::int64_t e = 0; e < experts; ++e) {
            score[e] = 1.0f / (1.0f + std::exp(-scores_.get()[t * experts + e]));
            choice[e] = score[e] + layer.bias[e];
        }
        if (s.groups > 1) {
            const std::int64_t size = experts / s.groups;
            std::vector<std::pair<float, std::int64_t>> best(s.groups);
            for (std::int64_t g = 0; g < s.groups; ++g) {
                std::vector<float> group(choice.begin() + g * size, choice.begin() + (g + 1) * size);
                const std::int64_t two = std::min<std::int64_t>(2, size);
                std::partial_sort(group.begin(), group.begin() + two, group.end(), std::greater<>());
                best[g] = {-std::accumulate(group.begin(), group.begin() + two, 0.0f), g};
            }
            std::sort(best.begin(), best.end());
            for (std::int64_t g = s.top_groups; g < s.groups; ++g)
                std::fill_n(choice.begin() + best[g].second * size, size, -INFINITY);
        }
        float sum = 1e-20f;
        for (std::int64_t k = 0; k < top_k; ++k) {
            const auto best = std::max_element(choice.begin(), choice.end());
            const auto e = best - choice.begin();
            *best = -INFINITY;
            ids[t * top_k + k] = static_cast<std::int32_t>(e);
            weights[t * top_k + k] = score[e];
            sum += score[e];
        }
        for (std::int64_t k = 0; k < top_k; ++k) {
            float& w = weights[t * top_k + k];
            w = (s.normalise ? w / sum : w) * s.routed_scale;
        }
    }
    chosen_.insert(chosen_.end(), ids.begin(), ids.end());
    mlp_ = std::make_unique<ForwardJob>(isa_, mode_, layer.mlp, tokens_, top_k, ids.data(),
                                        weights.data());
    mlp_->follow(*this);
    for (std::int64_t t = 0; t < tokens_; ++t)
        std::memcpy(mlp_->input(t), normed_.row(t), s.hidden * 4);
}

}  // namespace selenograph
