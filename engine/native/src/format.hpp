// What the kernels read: weights in the checkpoint's own bytes, activations in two forms.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace selenograph {

constexpr int kGroup = 32;         // columns that share a scale in INT4 and INT8
constexpr int kOctet = 8;          // columns whose INT4 weights fill four bytes
constexpr int kFp8Block = 128;     // rows and columns that share a scale in FP8
constexpr int kTokenTile = 4;      // tokens that share one reading of INT4 weights
constexpr int kWideTile = 8;       // and, as floats, of any weights,
constexpr int kWideRows = 32;      // of which so many rows stay in the second-level cache

enum class Format { int4, int8, bf16, fp8, f32 };
constexpr int kFormats = 5;

// A matrix [rows, columns] as published. The bytes lie in a mapped file and may be unaligned.
//   int4  compressed-tensors pack-quantized: value = (nibble - 8) * scale; a byte's low nibble is
//         the even column. data [rows, columns / 2], scales bf16 [rows, columns / 32]
//   int8  value = int8 * scale. data [rows, columns], scales bf16 [rows, columns / 32]
//   bf16  data [rows, columns] of two bytes, no scales
//   fp8   e4m3 without infinities (OCP 8-bit floating point, 2023). data [rows, columns], scales
//         float32 [ceil(rows / 128), ceil(columns / 128)]
//   f32   data [rows, columns] of four bytes, no scales
struct Matrix {
    Format format = Format::int4;
    const std::uint8_t* data = nullptr;
    const std::uint8_t* scales = nullptr;
    std::int64_t rows = 0;
    std::int64_t columns = 0;

    [[gnu::always_inline]] std::int64_t groups() const { return (columns + kGroup - 1) / kGroup; }
};

// Bytes of 32 columns of a row.
constexpr int group_bytes(Format format) {
    switch (format) {
        case Format::int4: return 16;
        case Format::bf16: return 64;
        case Format::f32: return 128;
        default: return 32;
    }
}

// Rows of float32 activations in column order, zero up to a multiple of 32 columns.
struct WideRows {
    const float* data;             // [rows, pitch]
    std::int64_t pitch;
};

// Rows of INT8 activations on two levels of scale: x = scale[row] * m * q, where q is INT8 and m, an
// INT16, is shared by four neighbouring columns. A row lies in blocks of `block` bytes of weights
// (2 * block columns): first q of the even columns, then of the odd ones, in the order in which
// nibbles come out of the bytes, then m: 3 * block bytes. Zero up to a whole number of four blocks.
struct FastRows {
    const std::uint8_t* data;      // [rows, stride]
    const std::int32_t* offset;    // [rows, offsets]: -8 * (sum of m * q over a group)
    const float* scale;            // [rows]
    std::int64_t stride;
    std::int64_t offsets;
};

// Of internal linkage, all of these: see README.md on instruction sets.
static inline float widen_bf16(std::uint16_t bits) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

static inline float load_bf16(const std::uint8_t* at) {
    std::uint16_t bits;
    std::memcpy(&bits, at, sizeof bits);
    return widen_bf16(bits);
}

static inline float load_float(const std::uint8_t* at) {
    float value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// An e4m3 value times 2^-120: sign, exponent and mantissa moved into a float's places. Subnormals
// come out right because they are subnormal there too; 0x7f and 0xff are not numbers.
constexpr float kFp8Rescale = 0x1p120f;

static inline std::uint32_t shifted_fp8(std::uint8_t bits) {
    return (static_cast<std::uint32_t>(bits & 0x80) << 24) |
           (static_cast<std::uint32_t>(bits & 0x7f) << 20);
}

}  // namespace selenograph
