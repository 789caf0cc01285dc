// What the kernels read: weights in the checkpoint's own bytes, activations in two forms.
#pragma once

#include <cstdint>
#include <cstring>

namespace selenograph {

constexpr int kGroup = 32;         // weights that share a scale
constexpr int kGroupBytes = 16;    // a group's nibbles
constexpr int kRowBlock = 32;      // rows one call computes; one group of the next matrix's input
constexpr int kTokenTile = 4;      // tokens that share one unpacking of the weights

// A symmetric INT4 matrix [rows, 32 * groups] as published (compressed-tensors pack-quantized):
// value = (nibble - 8) * scale; a byte's low nibble is the even column, its high one the odd.
// Scales are bf16. The bytes lie in a mapped file and may be unaligned.
struct Int4Matrix {
    const std::uint8_t* packed;    // [rows, 16 * groups]
    const std::uint8_t* scales;    // [rows, groups] bf16
    std::int64_t rows;
    std::int64_t groups;
};

// Rows of activations. Within each group even columns come first (16), then the odd (16): the
// order in which nibbles come out of the bytes, so that weights need no shuffling.
struct Activations {
    const float* exact;            // [tokens, 32 * groups], or null in fast mode
    const std::int8_t* quantised;  // [tokens, 32 * groups], value = quantised * scale
    const float* scale;            // [tokens, groups]
    const float* shift;            // [tokens, groups], 8 * scale * (sum of the group)
    std::int64_t groups;
};

inline float widen_bf16(std::uint16_t bits) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

inline float load_bf16(const std::uint8_t* at) {
    std::uint16_t bits;
    std::memcpy(&bits, at, sizeof bits);
    return widen_bf16(bits);
}

// Where column `column` of a group lies in an activation row.
inline int deinterleaved(int column) { return (column & 1) * (kGroup / 2) + column / 2; }

}  // namespace selenograph
