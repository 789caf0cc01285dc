// The experts of a model's layers: y = sum over chosen e of w_e * down_e(silu(gate_e x) * up_e x).
#pragma once

#include <memory>
#include <vector>

#include "activations.hpp"
#include "pool.hpp"

namespace selenograph {

struct Expert {
    Matrix gate;  // [inter, hidden]
    Matrix up;    // [inter, hidden]
    Matrix down;  // [hidden, inter]

    std::int64_t inter() const { return gate.rows; }
};

struct Layer {
    std::int64_t hidden;
    std::vector<Expert> experts;   // chosen by id, all of one inner width
    std::vector<Expert> shared;    // for every token, with weight 1
};

// One layer's forward for T tokens with K experts each. Every number is written by one thread, in an
// order that does not depend on how many there are.
class ForwardJob final : public Job {
public:
    // ids and weights are [tokens, top_k]; every id is below layer->experts.size().
    ForwardJob(const Isa& isa, Mode mode, std::shared_ptr<const Layer> layer, std::int64_t tokens,
               std::int64_t top_k, const std::int32_t* ids, const float* weights);

    // Fill each row before the job is submitted.
    float* input(std::int64_t token) { return input_.row(token); }
    float* output() { return output_.get(); }  // [tokens, hidden]
    std::int64_t tokens() const { return tokens_; }
    std::int64_t hidden() const { return layer_->hidden; }

    using Job::follow;             // a step through a whole network runs these phases as its own
    int phases() const override { return 4; }
    std::int64_t items(int phase) const override;
    std::int64_t longest_run(int phase) const override;
    void run(int phase, std::int64_t first, std::int64_t count) override;

private:
    struct Share {                 // one expert's part of the batch
        const Expert* expert;
        ActivationRows* inner;     // [rows, expert's inner width]
        std::int64_t inner_row;    // its first row there
        std::int64_t begin, end;   // in token_ and weight_
        std::int64_t block;        // its first item of the gate-and-up phase
    };

    void add_share(const Expert& expert, ActivationRows& inner, std::int64_t inner_row,
                   std::int64_t begin, std::int64_t end);
    void quantise_inner(std::int64_t row);
    void gate_up(std::int64_t first, std::int64_t count);
    void gate_up(const Share& share, std::int64_t first_row, std::int64_t rows);
    void down(std::int64_t first_row, std::int64_t rows);
    bool fast(const Matrix& matrix) const { return takes_fast(mode_, matrix.format); }

    const Isa& isa_;
    const Mode mode_;
    const std::shared_ptr<const Layer> layer_;
    const std::int64_t tokens_;
    std::vector<Share> shares_;
    std::int64_t blocks_ = 0;
    std::vector<std::int64_t> token_;      // by share, then by token
    std::vector<float> weight_;
    std::vector<std::int64_t> row_;        // 0, 1, 2, ...
    ActivationRows input_;                 // [tokens, hidden]
    ActivationRows inner_;                 // [tokens * top_k, inner width]
    std::vector<ActivationRows> shared_inner_;  // one a shared expert: [tokens, its inner width]
    Aligned<float> output_;
};

}  // namespace selenograph
