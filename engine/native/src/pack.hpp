// A whole matrix of bf16 to INT4 or INT8, divided among the pool's threads.
#pragma once

#include "activations.hpp"
#include "pool.hpp"

namespace selenograph {

class PackJob final : public Job {
public:
    // bits 4 or 8; source [rows, columns] of bf16, columns a multiple of 32.
    PackJob(const Isa& isa, int bits, const Matrix& source)
        : pack_(bits == 4 ? isa.pack4 : isa.pack8),
          source_(source),
          row_bytes_(source.columns * bits / 8),
          data_(source.rows * row_bytes_, Begin::unset),
          scales_(source.rows * source.groups() * 2, Begin::unset) {}

    std::uint8_t* data() { return data_.get(); }       // [rows, columns * bits / 8]
    std::uint8_t* scales() { return scales_.get(); }   // [rows, columns / 32] bf16

protected:
    int phases() const override { return 1; }
    std::int64_t items(int) const override { return source_.rows; }
    std::int64_t longest_run(int) const override { return 64; }
    void run(int, std::int64_t first, std::int64_t count) override {
        for (std::int64_t r = first; r < first + count && !aborted(); ++r)
            pack_(source_.data + r * source_.columns * 2, source_.columns,
                  data_.get() + r * row_bytes_, scales_.get() + r * source_.groups() * 2);
    }

private:
    const PackRow pack_;
    const Matrix source_;
    const std::int64_t row_bytes_;
    Aligned<std::uint8_t> data_, scales_;
};

}  // namespace selenograph
