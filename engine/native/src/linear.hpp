// y = x W^T for one matrix: the dense parts of a model where there is no accelerator.
#pragma once

#include "activations.hpp"
#include "pool.hpp"

namespace selenograph {

class LinearJob final : public Job {
public:
    // x stays where it is until the job is over.
    LinearJob(const Isa& isa, Mode mode, const Matrix& matrix, const FloatRows& x)
        : isa_(isa),
          matrix_(matrix),
          x_(x),
          fast_(takes_fast(mode, matrix.format)),
          input_(isa, x.rows, matrix.columns, fast_, Begin::unset),
          token_(x.rows),
          output_(x.rows * matrix.rows, Begin::unset) {
        for (std::int64_t t = 0; t < x.rows; ++t) token_[t] = t;
    }

    float* output() { return output_.get(); }  // [tokens, rows]
    std::int64_t tokens() const { return static_cast<std::int64_t>(token_.size()); }
    std::int64_t rows() const { return matrix_.rows; }

protected:
    int phases() const override { return 2; }
    std::int64_t items(int phase) const override {
        if (phase == 0) return tokens();
        return tokens() > 0 ? (matrix_.rows + kBlock - 1) / kBlock : 0;
    }
    std::int64_t longest_run(int) const override { return kDotRows / kBlock; }
    void run(int phase, std::int64_t first, std::int64_t count) override {
        if (phase == 0) {
            for (std::int64_t t = first; t < first + count; ++t) {
                x_.read(t, input_.row(t));
                if (fast_) input_.quantise(t);
            }
            return;
        }
        const std::int64_t row = first * kBlock;
        const std::int64_t rows = count * kBlock < matrix_.rows - row ? count * kBlock : matrix_.rows - row;
        dot(isa_, matrix_, row, rows, input_, fast_, token_.data(), tokens(), output_.get() + row,
            matrix_.rows);
    }

private:
    static constexpr std::int64_t kBlock = 32;

    const Isa& isa_;
    const Matrix matrix_;
    const FloatRows x_;
    const bool fast_;
    ActivationRows input_;
    std::vector<std::int64_t> token_;
    Aligned<float> output_;
};

}  // namespace selenograph
