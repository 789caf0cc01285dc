// All layers of a model for a few tokens at once: decode on a machine without accelerator.
//
// One job takes the tokens from embedding to logits, so that between kernels there are only the
// pool's barriers. engine/model/ computes the same layer by layer, for everything else.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "experts.hpp"
#include "latents.hpp"

namespace selenograph {

struct NetworkShape {
    std::int64_t hidden, heads, nope, rope, value, rank, vocab;
    std::int64_t top_k, groups, top_groups;
    bool normalise, interleaved;
    float routed_scale, softmax_scale, eps, latent_eps;

    std::int64_t head() const { return nope + rope; }
    std::int64_t latent() const { return rank + rope; }
};

struct AttentionWeights {
    std::vector<float> norm;           // [hidden]
    std::optional<Matrix> q_a;         // [q_rank, hidden]
    std::vector<float> q_a_norm;       // [q_rank]
    Matrix q_b;                        // [heads * head, q_rank or hidden]
    Matrix kv_a;                       // [latent, hidden]
    std::vector<float> kv_a_norm;      // [rank]
    Matrix key_up;                     // [heads * rank, nope], each head's transposed
    Matrix kv_b;                       // [heads * (nope + value), rank], of which values are used
    Matrix out;                        // [hidden, heads * value]
};

struct NetworkLayer {
    AttentionWeights attention;
    std::vector<float> norm;           // [hidden]
    std::optional<Matrix> router;      // [experts, hidden]; none: the layer is dense
    std::vector<float> bias;           // [experts]
    std::shared_ptr<const Layer> mlp;
};

struct Network {
    NetworkShape shape;
    std::vector<NetworkLayer> layers;
    std::vector<float> norm;           // [hidden]
    Matrix head;                       // [vocab, hidden]
};

class StepJob final : public Job {
public:
    StepJob(const Isa& isa, Mode mode, std::shared_ptr<const Network> network,
            std::vector<LatentPart> parts, int threads);

    // Fill before the job is submitted.
    float* input(std::int64_t token) { return x_.get() + token * shape().hidden; }
    float* cosines(std::int64_t token) { return cosine_.get() + token * shape().rope / 2; }
    float* sines(std::int64_t token) { return sine_.get() + token * shape().rope / 2; }

    float* output() { return logits_.get(); }      // [tokens, vocab]
    float* hidden() { return x_.get(); }           // [tokens, hidden], after the final norm
    std::int64_t tokens() const { return tokens_; }
    const std::vector<std::int32_t>& chosen() const { return chosen_; }  // [layers with a router, tokens, top_k]

protected:
    int phases() const override;
    std::int64_t items(int phase) const override;
    std::int64_t longest_run(int phase) const override;
    void run(int phase, std::int64_t first, std::int64_t count) override;

private:
    const NetworkShape& shape() const { return network_->shape; }
    const NetworkLayer& layer(int phase) const;
    bool fast(const Matrix& m) const { return takes_fast(mode_, m.format); }

    void enter_layer(const NetworkLayer& layer, std::int64_t token);
    void take_latent(const NetworkLayer& layer, int index, std::int64_t token);
    void absorb(const NetworkLayer& layer, std::int64_t head);
    void join(std::int64_t item);
    void leave_attention(const NetworkLayer& layer, std::int64_t token);
    void route(const NetworkLayer& layer, int index);
    void rows(const Matrix& m, const ActivationRows& x, std::int64_t first, std::int64_t count,
              float* y, std::int64_t stride);
    void normalise(const float* x, const std::vector<float>& weight, float eps, float* out) const;
    void rotate(const float* in, std::int64_t token, float* out) const;

    const Isa& isa_;
    const Mode mode_;
    const std::shared_ptr<const Network> network_;
    const std::vector<LatentPart> parts_;
    const std::int64_t tokens_;
    const bool lora_;
    std::vector<std::int64_t> token_;              // 0, 1, 2, ...
    Aligned<float> x_, cosine_, sine_;
    ActivationRows normed_;                        // [tokens, hidden]
    Aligned<float> q_low_;                         // [tokens, q_rank]
    ActivationRows q_low_normed_;                  // [tokens, q_rank]
    Aligned<float> q_, kv_;                        // [tokens, heads * head], [tokens, latent]
    ActivationRows q_nope_;                        // [heads * tokens, nope]
    Aligned<float> query_;                         // [tokens, heads, latent]
    LatentAttention attention_;
    ActivationRows joined_;                        // [heads * tokens, rank]
    ActivationRows heads_;                         // [tokens, heads * value]
    Aligned<float> attended_;                      // [tokens, hidden]
    Aligned<float> scores_;                        // [tokens, experts]
    std::unique_ptr<ForwardJob> mlp_;
    std::vector<std::int32_t> chosen_;
    Aligned<float> logits_;
};

}  // namespace selenograph
