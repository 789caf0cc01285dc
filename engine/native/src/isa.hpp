// The table of kernels that an instruction set provides, and the choice among them.
#pragma once

#include <string>
#include <vector>

#include "format.hpp"

namespace selenograph {

// y[t * stride + r] = dot(matrix row first + r, x[tokens[t]]) for r < count and t < tile <= 4.
using WideDot = void (*)(const Matrix& matrix, std::int64_t first, std::int64_t count,
                         const WideRows& x, const std::int64_t* tokens, int tile, float* y,
                         std::int64_t stride);

// The same for INT4 weights and INT8 activations.
using FastDot = void (*)(const Matrix& matrix, std::int64_t first, std::int64_t count,
                         const FastRows& x, const std::int64_t* tokens, int tile, float* y,
                         std::int64_t stride);

// The same for any number of tokens, whose weights are unpacked once. `scratch` holds
// kPanelScratch bytes, aligned to 64. count <= kPanelRows.
using FastPanel = void (*)(const Matrix& matrix, std::int64_t first, std::int64_t count,
                           const FastRows& x, const std::int64_t* tokens, std::int64_t tokens_count,
                           float* y, std::int64_t stride, std::uint8_t* scratch);
constexpr int kPanelRows = 128;        // so many, that tokens are seldom fetched
constexpr int kPanelColumns = 256;     // of weights unpacked at a time
constexpr int kPanelTokens = 128;      // whose sums are held at a time
constexpr int kPanelScratch =
    kPanelRows * (kPanelColumns + (kPanelColumns / kGroup + kPanelTokens) * sizeof(float));

// One row of `columns` (a multiple of 32) to the form of FastRows; returns the row's scale, NaN
// where a value is not finite.
using Quantise = float (*)(const float* x, std::int64_t columns, std::uint8_t* data,
                           std::int32_t* offset);

// out = silu(gate) * up, element by element.
using SiluMultiply = void (*)(const float* gate, const float* up, std::int64_t count, float* out);

// A row of bf16 to INT4 or INT8 with a bf16 scale per 32 columns (a multiple of which there is).
using PackRow = void (*)(const std::uint8_t* row, std::int64_t columns, std::uint8_t* data,
                         std::uint8_t* scales);

// Latents that one query token attends to, and the shape of the heads.
struct LatentStretch {
    const std::uint8_t* rows;      // [count] rows of rank + rope values, bf16 (narrow) or float32
    std::int64_t row_bytes;
    std::int64_t count;
    bool narrow;
    std::int64_t heads, rank, rope;
    float scale;
};

// query [heads, rank + rope] goes into most [heads], total [heads], context [heads, rank]: see
// kernels/attention.hpp.
using Attend = void (*)(const LatentStretch& stretch, const float* query, float* most, float* total,
                        float* context);

// Multiply-adds of the INT8 dot product this instruction set has, from registers only: the
// ceiling that prefill is measured against. Returns how many were done (one per pair of numbers).
using DotLoop = std::int64_t (*)(std::int64_t rounds);

struct Isa {
    const char* name;
    bool (*supported)();           // by this processor, asked once
    int block;                     // bytes of INT4 weights in a block of FastRows
    int group_bytes;               // of FastRows for 32 columns; more than 48: a form of its own behind
    WideDot wide_dot[kFormats];    // by Format
    FastDot fast_dot;
    FastPanel fast_panel;
    Quantise quantise;
    SiluMultiply silu_multiply;
    Attend attend;
    PackRow pack4, pack8;
    DotLoop dot_loop;
};

extern const Isa kScalar;
#ifdef SELENOGRAPH_X86
extern const Isa kAvx2;
extern const Isa kAvxVnni;
extern const Isa kAvx512;
extern const Isa kAvx512Vnni;
extern const Isa kAmxInt8;
#endif
#ifdef SELENOGRAPH_ARM
extern const Isa kNeon;
#endif

std::vector<const Isa*> available_isas();       // worst first
const Isa* find_isa(const std::string& name);   // "auto": the best; null if unknown or unsupported

}  // namespace selenograph
