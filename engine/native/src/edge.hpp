// What Python hands over, checked once: shapes, dtypes, contiguity. Kernels rely on it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "experts.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace selenograph {

using Array = nb::ndarray<nb::ro, nb::device::cpu>;
inline constexpr nb::dlpack::dtype kBf16{static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat), 16, 1};
inline constexpr std::int64_t kMostTokens = 1 << 20;
inline constexpr int kMostThreads = 1024;

struct InputError : std::runtime_error { using runtime_error::runtime_error; };
struct AbortedError : std::runtime_error { using runtime_error::runtime_error; };
struct ClosedError : std::runtime_error { using runtime_error::runtime_error; };

inline std::string shape_text(std::int64_t rows, std::int64_t columns) {
    return "[" + std::to_string(rows) + ", " + std::to_string(columns) + "]";
}

inline std::int64_t side(const Array& array, int axis) {
    return static_cast<std::int64_t>(array.shape(axis));
}

// A contiguous CPU matrix of one of the given types; -1 leaves a dimension open.
inline Array array2d(nb::handle object, const std::string& name, std::int64_t rows, std::int64_t columns,
              std::initializer_list<nb::dlpack::dtype> types, const char* type_names) {
    Array array;
    if (!nb::try_cast(object, array)) throw InputError(name + " is no CPU array");
    bool known = false;
    for (const auto& type : types) known = known || array.dtype() == type;
    if (!known) throw InputError(name + " must be " + type_names);
    if (array.ndim() != 2) throw InputError(name + " must have two dimensions");
    const std::int64_t r = side(array, 0), c = side(array, 1);
    if ((rows >= 0 && r != rows) || (columns >= 0 && c != columns))
        throw InputError(name + " has shape " + shape_text(r, c) + ", expected " +
                         shape_text(rows < 0 ? r : rows, columns < 0 ? c : columns));
    const bool contiguous =
        r * c == 0 || ((c == 1 || array.stride(1) == 1) && (r == 1 || array.stride(0) == c));
    if (!contiguous) throw InputError(name + " is not contiguous");
    return array;
}

inline const std::uint8_t* bytes_of(const Array& array) {
    return static_cast<const std::uint8_t*>(array.data());
}

// Its format is told by what it is made of: (int32, bf16) is INT4, (int8, bf16) INT8,
// (uint8, float32) FP8, (bf16) and (float32) themselves.
inline Matrix read_matrix(nb::handle object, const std::string& name, std::int64_t rows,
                   std::int64_t columns) {
    nb::sequence parts;
    if (!nb::try_cast(object, parts) || nb::len(parts) < 1 || nb::len(parts) > 2)
        throw InputError(name + " must be a tuple of data and, unless it holds floats, scales");
    const bool scaled = nb::len(parts) == 2;
    Matrix matrix;
    const Array data =
        array2d(parts[0], name, -1, -1,
                {nb::dtype<std::int32_t>(), nb::dtype<std::int8_t>(), nb::dtype<std::uint8_t>(), kBf16,
                 nb::dtype<float>()},
                "int32 (INT4), int8, uint8 (FP8), bfloat16 or float32");
    matrix.data = bytes_of(data);
    matrix.rows = side(data, 0);
    matrix.columns = side(data, 1);
    if (data.dtype() == nb::dtype<std::int32_t>()) {
        matrix.columns *= 8;
    } else {
        matrix.format = data.dtype() == kBf16                        ? Format::bf16
                        : data.dtype() == nb::dtype<float>()        ? Format::f32
                        : data.dtype() == nb::dtype<std::int8_t>() ? Format::int8
                                                                    : Format::fp8;
    }
    if ((rows >= 0 && matrix.rows != rows) || (columns >= 0 && matrix.columns != columns))
        throw InputError(name + " has shape " + shape_text(matrix.rows, matrix.columns) +
                         ", expected " + shape_text(rows < 0 ? matrix.rows : rows,
                                                    columns < 0 ? matrix.columns : columns));
    if (matrix.rows == 0 || matrix.columns == 0) throw InputError(name + " is empty");
    const bool floats = matrix.format == Format::bf16 || matrix.format == Format::f32;
    if (scaled == floats)
        throw InputError(name + (scaled ? " holds floats and takes no scales" : " needs scales"));
    const bool grouped = matrix.format == Format::int4 || matrix.format == Format::int8;
    if (grouped && matrix.columns % kGroup != 0)
        throw InputError(name + " has " + std::to_string(matrix.columns) +
                         " columns, which are no whole groups of 32");
    if (grouped) {
        matrix.scales = bytes_of(array2d(parts[1], name + "'s scale", matrix.rows,
                                         matrix.columns / kGroup, {kBf16}, "bfloat16"));
    } else if (scaled) {
        const auto blocks = [](std::int64_t n) { return (n + kFp8Block - 1) / kFp8Block; };
        matrix.scales = bytes_of(array2d(parts[1], name + "'s scale", blocks(matrix.rows),
                                         blocks(matrix.columns), {nb::dtype<float>()}, "float32"));
    }
    return matrix;
}

inline Expert read_expert(nb::handle object, const std::string& name, std::int64_t inter,
                   std::int64_t hidden) {
    nb::sequence parts;
    if (!nb::try_cast(object, parts) || nb::len(parts) != 3)
        throw InputError(name + " needs three matrices: gate, up and down");
    const Matrix gate = read_matrix(parts[0], name + ".gate_proj", inter, hidden);
    const Matrix up = read_matrix(parts[1], name + ".up_proj", gate.rows, gate.columns);
    const Matrix down = read_matrix(parts[2], name + ".down_proj", gate.columns, gate.rows);
    return {gate, up, down};
}

inline FloatRows float_rows(const Array& x) {
    return {x.data(), x.dtype() == kBf16, side(x, 0), side(x, 1)};
}

// Rows into a job's float32 input.
template <class J>
void fill(J& job, const Array& x) {
    const FloatRows rows = float_rows(x);
    for (std::int64_t t = 0; t < rows.rows; ++t) rows.read(t, job.input(t));
}

using Result = nb::ndarray<nb::numpy, float, nb::ndim<2>>;
using Bytes = nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<2>>;

// Sleeps until a job is over; call it without the GIL.
inline void finish(Job& job) {
    switch (job.wait()) {
        case Outcome::aborted: throw AbortedError("the work was aborted");
        case Outcome::closed: throw ClosedError("the pool was closed");
        default: return;
    }
}

// A job's memory as an array that keeps the job alive.
template <class T, class J>
nb::ndarray<nb::numpy, T, nb::ndim<2>> owned(const std::shared_ptr<J>& job, T* data,
                                             std::int64_t rows, std::int64_t columns) {
    auto* keep = new std::shared_ptr<J>(job);
    nb::capsule owner(keep, [](void* p) noexcept { delete static_cast<std::shared_ptr<J>*>(p); });
    return {data, {static_cast<std::size_t>(rows), static_cast<std::size_t>(columns)}, owner};
}

template <class J>
Result await(const std::shared_ptr<J>& job, std::int64_t columns) {
    {
        nb::gil_scoped_release unlocked;
        finish(*job);
    }
    return owned(job, job->output(), job->tokens(), columns);
}

}  // namespace selenograph
