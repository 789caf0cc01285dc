// y = x W^T for matrices that have an input in common: the dense parts of a model where there is no
// accelerator.
#pragma once

#include <algorithm>
#include <vector>

#include "activations.hpp"
#include "pool.hpp"

namespace selenograph {

class LinearJob final : public Job {
public:
    // x stays where it is until the job is over. There is a matrix, and all are of as many columns.
    LinearJob(const Isa& isa, Mode mode, std::vector<Matrix> matrices, const FloatRows& x)
        : isa_(isa),
          mode_(mode),
          matrices_(std::move(matrices)),
          x_(x),
          fast_(std::any_of(matrices_.begin(), matrices_.end(),
                            [mode](const Matrix& m) { return takes_fast(mode, m.format); })),
          input_(isa, x.rows, x.columns, fast_, Begin::unset),
          token_(x.rows) {
        for (std::int64_t t = 0; t < x.rows; ++t) token_[t] = t;
        for (const Matrix& m : matrices_) outputs_.emplace_back(x.rows * m.rows, Begin::unset);
    }

    float* output(std::size_t matrix) { return outputs_[matrix].get(); }   // [tokens, its rows]
    const std::vector<Matrix>& matrices() const { return matrices_; }
    std::int64_t tokens() const { return static_cast<std::int64_t>(token_.size()); }

protected:
    int phases() const override { return 2; }
    std::int64_t items(int phase) const override {
        if (phase == 0) return tokens();
        std::int64_t blocks = 0;
        for (const Matrix& m : matrices_) blocks += count_blocks(m);
        return tokens() > 0 ? blocks : 0;
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
        std::int64_t begin = 0;                // the matrix's first item
        for (std::size_t i = 0; i < matrices_.size(); ++i) {
            const std::int64_t end = begin + count_blocks(matrices_[i]);
            const std::int64_t from = std::max(first, begin), to = std::min(first + count, end);
            if (from < to) multiply(i, (from - begin) * kBlock, (to - from) * kBlock);
            begin = end;
        }
    }

private:
    static constexpr std::int64_t kBlock = 32;
    static std::int64_t count_blocks(const Matrix& m) { return (m.rows + kBlock - 1) / kBlock; }

    void multiply(std::size_t matrix, std::int64_t row, std::int64_t count) {
        const Matrix& m = matrices_[matrix];
        dot(isa_, m, row, std::min(count, m.rows - row), input_, takes_fast(mode_, m.format),
            token_.data(), tokens(), output(matrix) + row, m.rows);
    }

    const Isa& isa_;
    const Mode mode_;
    const std::vector<Matrix> matrices_;
    const FloatRows x_;
    const bool fast_;              // whether any of them takes INT8 activations
    ActivationRows input_;
    std::vector<std::int64_t> token_;
    std::vector<Aligned<float>> outputs_;
};

}  // namespace selenograph
