// Random matrices whose bytes end where the readable memory ends, and the same in float64.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

#include "experts.hpp"

namespace selenograph::tests {

using Random = std::mt19937_64;

// Bytes right before a page that nobody may touch.
class Guarded {
public:
    explicit Guarded(std::int64_t count) : count_(count) {
        const std::int64_t page = sysconf(_SC_PAGESIZE);
        const std::int64_t whole = (count + page - 1) / page * page;
        mapped_ = whole + page;
        start_ = static_cast<std::uint8_t*>(
            mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (start_ == MAP_FAILED || mprotect(start_ + whole, page, PROT_NONE) != 0)
            throw std::runtime_error("no memory");
        data_ = start_ + whole - count;
    }
    ~Guarded() { munmap(start_, mapped_); }
    Guarded(const Guarded&) = delete;
    Guarded& operator=(const Guarded&) = delete;
    std::uint8_t* get() const { return data_; }
    std::int64_t size() const { return count_; }

private:
    std::int64_t count_, mapped_;
    std::uint8_t* start_;
    std::uint8_t* data_;
};

inline float random_normal(Random& random) { return std::normal_distribution<float>(0, 1)(random); }

inline std::vector<float> random_rows(Random& random, std::int64_t rows, std::int64_t columns) {
    std::vector<float> x(rows * columns);
    for (float& value : x) value = random_normal(random);
    return x;
}

inline std::uint16_t narrow_bf16(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// e4m3 by its definition: sign, exponent of bias 7, mantissa of 3 bits, no infinities.
inline double fp8_value(std::uint8_t bits) {
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    const double size = exponent == 0 ? std::ldexp(mantissa / 8.0, -6)
                                      : std::ldexp(1 + mantissa / 8.0, exponent - 7);
    return bits & 0x80 ? -size : size;
}

struct RandomMatrix {
    std::unique_ptr<Guarded> data, scales;
    Matrix matrix;
    std::vector<double> values;    // [rows, columns]

    RandomMatrix(Random& random, Format format, std::int64_t rows, std::int64_t columns) {
        const std::int64_t groups = columns / kGroup, wide = (columns + kFp8Block - 1) / kFp8Block;
        const bool grouped = format == Format::int4 || format == Format::int8;
        data = std::make_unique<Guarded>(rows * columns * group_bytes(format) / kGroup);
        scales = std::make_unique<Guarded>(
            grouped ? rows * groups * 2
                    : format == Format::fp8 ? (rows + kFp8Block - 1) / kFp8Block * wide * 4 : 0);
        matrix = {format, data->get(), scales->get(), rows, columns};
        const float unit = 1.0f / std::sqrt(static_cast<float>(columns));
        values.resize(rows * columns);
        if (format == Format::bf16 || format == Format::f32) {
            for (std::size_t i = 0; i < values.size(); ++i) {
                const float number = random_normal(random) * unit;
                const std::uint16_t bits = narrow_bf16(number);
                if (format == Format::f32)
                    std::memcpy(data->get() + 4 * i, &number, 4);
                else
                    std::memcpy(data->get() + 2 * i, &bits, 2);
                values[i] = format == Format::f32 ? number : widen_bf16(bits);
            }
            return;
        }
        for (std::int64_t i = 0; i < data->size(); ++i) {
            std::uint8_t byte = static_cast<std::uint8_t>(random());
            if (format == Format::fp8 && (byte & 0x7f) > 0x70) byte &= 0x8f;  // no NaN, below 256
            data->get()[i] = byte;
        }
        std::uniform_real_distribution<float> around(0.5f, 1.5f);
        for (std::int64_t i = 0; i < scales->size() / (grouped ? 2 : 4); ++i) {
            if (grouped) {
                const float size = format == Format::int4 ? unit / 4.6f : unit / 74;
                const std::uint16_t bits = narrow_bf16(around(random) * size);
                std::memcpy(scales->get() + 2 * i, &bits, 2);
            } else {
                const float scale = around(random) * unit / 20;
                std::memcpy(scales->get() + 4 * i, &scale, 4);
            }
        }
        for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t c = 0; c < columns; ++c)
                values[r * columns + c] = value(r, c, groups, wide);
    }

    // x [columns] times the matrix: [rows].
    std::vector<double> times(const double* x) const {
        std::vector<double> y(matrix.rows);
        for (std::int64_t r = 0; r < matrix.rows; ++r)
            for (std::int64_t c = 0; c < matrix.columns; ++c)
                y[r] += values[r * matrix.columns + c] * x[c];
        return y;
    }

private:
    double value(std::int64_t r, std::int64_t c, std::int64_t groups, std::int64_t wide) const {
        const std::int64_t at = r * matrix.columns + c;
        if (matrix.format == Format::fp8)
            return fp8_value(matrix.data[at]) *
                   load_float(matrix.scales + (r / kFp8Block * wide + c / kFp8Block) * 4);
        const double scale = load_bf16(matrix.scales + (r * groups + c / kGroup) * 2);
        if (matrix.format == Format::int8) return static_cast<std::int8_t>(matrix.data[at]) * scale;
        const int pair = matrix.data[at / 2];
        return ((at % 2 ? pair >> 4 : pair & 15) - 8) * scale;
    }
};

// Square root of the squared error's share in the squared size.
struct Error {
    double wrong = 0, size = 0;
    void add(double got, double want) {
        wrong += (got - want) * (got - want);
        size += want * want;
    }
    double relative() const { return std::sqrt(wrong / (size > 0 ? size : 1)); }
};

}  // namespace selenograph::tests
