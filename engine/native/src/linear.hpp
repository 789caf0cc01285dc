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
          rows_(total_rows(matrices_)),
          input_(isa, x.rows, x.columns, fast_, Begin::unset),
          token_(x.rows),
          output_(x.rows * rows_, Begin::unset) {
        for (std::int64_t t = 0; t < x.rows; ++t) token_[t] = t;
    }

    static std::int64_t total_rows(const std::vector<Matrix>& matrices) {
        std::int64_t rows = 0;
        for (const Matrix& m : matrices) rows += m.rows;
        return rows;
    }

    float* output() { return output_.get(); }  // [tokens, rows]: of each matrix, side by side
    std::int64_t tokens() const { return static_cast<std::int64_t>(token_.size()); }
    std::int64_t rows() const { return rows_; }

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
        std::int64_t begin = 0, column = 0;    // of the matrix: its first item, its place in the output
        for (const Matrix& m : matrices_) {
            const std::int64_t end = begin + count_blocks(m);
            const std::int64_t from = std::max(first, begin), to = std::min(first + count, end);
            if (from < to) multiply(m, (from - begin) * kBlock, (to - from) * kBlock, column);
            begin = end;
            column += m.rows;
        }
    }

private:
    static constexpr std::int64_t kBlock = 32;
    static std::int64_t count_blocks(const Matrix& m) { return (m.rows + kBlock - 1) / kBlock; }

    void multiply(const Matrix& m, std::int64_t row, std::int64_t count, std::int64_t column) {
        dot(isa_, m, row, std::min(count, m.rows - row), input_, takes_fast(mode_, m.format),
            token_.data(), tokens(), output_.get() + column + row, rows_);
    }

    const Isa& isa_;
    const Mode mode_;
    const std::vector<Matrix> matrices_;
    const FloatRows x_;
    const bool fast_;              // whether any of them takes INT8 activations
    const std::int64_t rows_;
    ActivationRows input_;
    std::vector<std::int64_t> token_;
    Aligned<float> output_;
};

}  // namespace selenograph
