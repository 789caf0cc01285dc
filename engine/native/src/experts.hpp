// The routed experts of a model's layers: y = sum over chosen e of w_e * down_e(silu(gate_e x) * up_e x).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "format.hpp"
#include "isa.hpp"
#include "pool.hpp"

namespace selenograph {

struct Expert {
    Int4Matrix gate;  // [inter, hidden]
    Int4Matrix up;    // [inter, hidden]
    Int4Matrix down;  // [hidden, inter]
};

struct Layer {
    std::int64_t hidden;
    std::int64_t inter;
    std::vector<Expert> experts;
};

enum class Mode { exact, fast };

// Activations that a ticket owns, in the form its mode wants.
class ActivationStore {
public:
    ActivationStore(Mode mode, std::int64_t rows, std::int64_t width);
    void put(std::int64_t row, std::int64_t group, const float* values);  // 32, in column order
    Activations view() const;

private:
    Mode mode_;
    std::int64_t groups_;
    std::vector<float> exact_;
    std::vector<std::int8_t> quantised_;
    std::vector<float> scale_, shift_;
};

// One layer's forward for T tokens with K experts each. Items of the first phase are (expert,
// 32 rows of gate and up), of the second 32 rows of the output over all experts: every number is
// written by one thread, in an order that does not depend on how many there are.
class ForwardJob final : public Job {
public:
    // ids and weights are [tokens, top_k]; every id is below layer->experts.size().
    ForwardJob(const Isa& isa, Mode mode, std::shared_ptr<const Layer> layer, std::int64_t tokens,
               std::int64_t top_k, const std::int32_t* ids, const float* weights);

    // Fill the input before the job is submitted.
    ActivationStore& input() { return input_; }
    float* output() { return output_.data(); }  // [tokens, hidden]
    std::int64_t tokens() const { return tokens_; }
    std::int64_t hidden() const { return layer_->hidden; }

protected:
    int phases() const override { return 2; }
    std::int64_t items(int phase) const override;
    void run(int phase, std::int64_t item) override;

private:
    struct Share {                 // one expert's part of the batch
        const Expert* expert;
        std::int64_t begin, end;   // in token_, weight_ and the rows of inner_
    };

    void gate_up(const Share& share, std::int64_t block);
    void down(std::int64_t block);

    const DotBlock dot_;
    const std::shared_ptr<const Layer> layer_;
    const std::int64_t tokens_;
    std::vector<Share> shares_;
    std::vector<std::int64_t> token_;  // by expert, then by token
    std::vector<float> weight_;
    std::vector<std::int64_t> inner_row_;  // 0, 1, 2, ...
    ActivationStore input_;        // [tokens, hidden]
    ActivationStore inner_;        // [tokens * top_k, inter]
    std::vector<float> output_;
};

}  // namespace selenograph
