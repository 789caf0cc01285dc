#include "activations.hpp"

#include <algorithm>
#include <new>

namespace selenograph {
namespace {

// Whole quads of blocks: 4 * block bytes of weights, 2 columns a byte.
std::int64_t padded(std::int64_t columns, int block) {
    const std::int64_t quad = 8 * block;
    return (columns + quad - 1) / quad * quad;
}

struct Scratch {
    Aligned<std::uint8_t> bytes{kPanelScratch};
};

}  // namespace

ActivationRows::ActivationRows(const Isa& isa, std::int64_t rows, std::int64_t columns, bool fast,
                               Begin begin)
    : isa_(isa),
      rows_(rows),
      groups_((columns + kGroup - 1) / kGroup),
      stride_(fast ? padded(columns, isa.block) / kGroup * isa.group_bytes : 0),
      offsets_(fast ? padded(columns, isa.block) / kGroup : 0),
      wide_(rows * pitch(), columns % kGroup == 0 ? begin : Begin::zero),
      data_(rows * stride_, Begin::unset),
      offset_(rows * offsets_, Begin::unset),
      scale_(fast ? rows : 0) {}

void ActivationRows::quantise(std::int64_t row) {
    std::uint8_t* data = data_.get() + row * stride_;
    std::int32_t* offset = offset_.get() + row * offsets_;
    std::memset(data, 0, stride_);     // by the thread that fills it, while it is in its cache
    std::memset(offset, 0, offsets_ * sizeof *offset);
    scale_.get()[row] = isa_.quantise(this->row(row), width(), data, offset);
}

void dot(const Isa& isa, const Matrix& matrix, std::int64_t first, std::int64_t count,
         const ActivationRows& x, bool fast, const std::int64_t* tokens, std::int64_t tokens_count,
         float* y, std::int64_t stride) {
    if (fast && tokens_count >= isa.panel_tokens) {
        thread_local Scratch scratch;
        for (std::int64_t r = 0; r < count; r += kPanelRows)
            isa.fast_panel(matrix, first + r, std::min<std::int64_t>(kPanelRows, count - r),
                           x.fast_view(), tokens, tokens_count, y + r, stride, scratch.bytes.get());
        return;
    }
    const auto tiles = [&](std::int64_t most, auto&& take) {
        for (std::int64_t t = 0; t < tokens_count; t += most)
            take(t, static_cast<int>(std::min(most, tokens_count - t)));
    };
    // A block of rows stays in the second-level cache while all tokens meet it.
    const std::int64_t block = fast && tokens_count <= kTokenTile ? count : kWideRows;
    const WideDot wide = isa.wide_dot[static_cast<int>(matrix.format)];
    for (std::int64_t r = 0; r < count; r += block) {
        const std::int64_t here = std::min(block, count - r);
        if (fast)
            tiles(kTokenTile, [&](std::int64_t t, int tile) {
                isa.fast_dot(matrix, first + r, here, x.fast_view(), tokens + t, tile,
                             y + t * stride + r, stride);
            });
        else
            tiles(kWideTile, [&](std::int64_t t, int tile) {
                wide(matrix, first + r, here, x.wide_view(), tokens + t, tile, y + t * stride + r,
                     stride);
            });
    }
}

}  // namespace selenograph
