// Rows of activations that a job owns, in the form its weights want.
#pragma once

#include <memory>

#include "isa.hpp"

namespace selenograph {

enum class Mode { exact, fast };

// The form in which a matrix of `format` is multiplied: INT8 only against INT4, and only if asked.
inline bool takes_fast(Mode mode, Format format) { return mode == Mode::fast && format == Format::int4; }

enum class Begin { zero, unset };   // unset: whoever asks for it writes everything

template <class T>
class Aligned {  // on a boundary of 64 bytes
public:
    explicit Aligned(std::int64_t count = 0, Begin begin = Begin::zero)
        : bytes_(static_cast<T*>(::operator new(bytes(count), std::align_val_t(64)))) {
        if (begin == Begin::zero) std::memset(static_cast<void*>(bytes_.get()), 0, bytes(count));
    }
    T* get() const { return bytes_.get(); }

private:
    static std::size_t bytes(std::int64_t count) { return count > 0 ? count * sizeof(T) : 64; }
    struct Free {
        void operator()(T* p) const { ::operator delete(p, std::align_val_t(64)); }
    };
    std::unique_ptr<T, Free> bytes_;
};

// Somebody else's rows of float32 or, `narrow`, bf16.
struct FloatRows {
    const void* data;
    bool narrow;
    std::int64_t rows, columns;

    void read(std::int64_t row, float* out) const {
        if (narrow) {
            const auto* from = static_cast<const std::uint16_t*>(data) + row * columns;
            for (std::int64_t c = 0; c < columns; ++c) out[c] = widen_bf16(from[c]);
        } else {
            std::memcpy(out, static_cast<const float*>(data) + row * columns, columns * 4);
        }
    }
};

class ActivationRows {
public:
    // `fast`: hold the INT8 form beside the float32 one. `begin` is for the columns; what pads them
    // to whole groups is zero.
    ActivationRows(const Isa& isa, std::int64_t rows, std::int64_t columns, bool fast,
                   Begin begin = Begin::zero);

    std::int64_t rows() const { return rows_; }
    std::int64_t width() const { return groups_ * kGroup; }
    // Values between rows: an odd number of lines of the cache, or a column of rows would meet in few
    // sets of it.
    std::int64_t pitch() const { return width() + 16; }
    float* row(std::int64_t row) { return wide_.get() + row * pitch(); }
    void quantise(std::int64_t row);   // once its float32 values are there
    bool fast() const { return stride_ > 0; }
    WideRows wide_view() const { return {wide_.get(), pitch()}; }
    FastRows fast_view() const {
        return {data_.get(), offset_.get(), scale_.get(), stride_, offsets_};
    }

private:
    const Isa& isa_;
    const std::int64_t rows_, groups_;
    const std::int64_t stride_, offsets_;
    Aligned<float> wide_;
    Aligned<std::uint8_t> data_;
    Aligned<std::int32_t> offset_;
    Aligned<float> scale_;
};

// y[t * stride + r] = dot(row first + r, x[tokens[t]]), r < count <= kDotRows, any number of tokens.
constexpr std::int64_t kDotRows = 256;
void dot(const Isa& isa, const Matrix& matrix, std::int64_t first, std::int64_t count,
         const ActivationRows& x, bool fast, const std::int64_t* tokens, std::int64_t tokens_count,
         float* y, std::int64_t stride);

}  // namespace selenograph
