// The table of kernels that an instruction set provides, and the choice among them.
#pragma once

#include <string>
#include <vector>

#include "format.hpp"

namespace selenograph {

// y[t * stride + r] = dot(matrix row first + r, x[tokens[t]]) for r < count and t < tile <= kWideTile.
using WideDot = void (*)(const Matrix& matrix, std::int64_t first, std::int64_t count,
                         const WideRows& x, const std::int64_t* tokens, int tile, float* y,
                         std::int64_t stride);

// The same for INT4 weights and INT8 activations, tile <= kTokenTile.
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
constexpr int kPanelScales = 32;       // of a row, held at a time, at most
constexpr int kPanelScratch =
    kPanelRows * (kPanelColumns + (kPanelScales + kPanelTokens) * sizeof(float));

// One row of `columns` (a multiple of 32) to the form of FastRows; returns the row's scale, NaN
// where a value is not finite.
using Quantise = float (*)(const float* x, std::int64_t columns, std::uint8_t* data,
                           std::int32_t* offset);

// out = silu(gate) * up, element by element.
using SiluMultiply = void (*)(const float* gate, const float* up, std::int64_t count, float* out);

// A row of bf16 to INT4 or INT8 with a bf16 scale per 32 columns (a multiple of which there is).
using PackRow = void (*)(const std::uint8_t* row, std::int64_t columns, std::uint8_t* data,
                         std::uint8_t* scales);

// Compressed latents of one sequence in one layer, in pages of kPageTokens rows of rank + rope values.
//   int8  rank INT8 | rope bf16 | a float32 scale for each kLatentGroup of rank
enum class LatentForm { f32, bf16, int8 };
constexpr int kPageTokens = 64;
constexpr int kLatentGroup = 64;
struct LatentPages {
    const std::uint8_t* first;     // the layer's rows in page 0
    const std::int32_t* pages;
    std::int64_t page_bytes, row_bytes;
    LatentForm form;

    [[gnu::always_inline]] const std::uint8_t* row(std::int64_t position) const {
        return first + pages[position / kPageTokens] * page_bytes + position % kPageTokens * row_bytes;
    }
};

// Queries in the latent space over positions begin .. end, whatever heads and tokens they are of.
struct LatentQueries {
    const float* query;            // [count, rank + rope]
    std::int64_t count, rank, rope;
    std::int64_t seen;             // positions that the first `each` queries see; the next `each`: one more
    std::int64_t each;
    std::int64_t begin, end;
    float scale;
    float* most;                   // [count] and so on: see kernels/flash.hpp
    float* total;
    float* context;                // [count, rank]
};
constexpr float kLeast = -1e30f;   // `most` of a query that has seen nothing
constexpr int kFewQueries = 4;     // up to so many, latents are used as they are stored

// Queries of one head, one after another in a sequence, and a block of positions with keys and values.
// Blocks come in order, and the first query sees the first position: so `most` is always a number.
struct AttentionBlock {
    const float* query;            // [queries] rows of nope + rope values, query_stride apart
    std::int64_t query_stride, queries;
    const float* key;              // [count] rows of nope values, key_stride apart
    const float* values;           // [count] rows of `value` values, key_stride apart
    std::int64_t key_stride;
    const float* rotary;           // [count] rows of the keys' other `rope` values
    std::int64_t rotary_stride, count;
    std::int64_t nope, rope, value;
    std::int64_t seen;             // positions of the block that the first query sees; the next: one more
    bool first, last;              // of the blocks: `out` is begun, or divided by `total`
    float scale;
    float* most;                   // [queries]
    float* total;                  // [queries]
    float* out;                    // [queries] rows of `value` values, out_stride apart
    std::int64_t out_stride;
};
constexpr int kFlashQueries = 48;      // at most, side by side
constexpr int kFlashPositions = 128;   // taken at a time
constexpr int kFlashColumns = 32;      // at most, of outputs at a time

// Values between rows: whole lines of the cache, and an odd number, or a column of rows would meet in
// few sets of it.
static constexpr std::int64_t flash_stride(std::int64_t width) {
    return (width + kFlashColumns - 1) / kFlashColumns * kFlashColumns + 16;
}

// Floats of scratch, aligned to 64 bytes, that `attend_block` takes.
static constexpr std::int64_t flash_scratch(std::int64_t queries, std::int64_t width,
                                            std::int64_t value) {
    const std::int64_t rows = queries + kFlashQueries;
    return rows * (width + flash_stride(value) + 2) + 64 +
           kFlashPositions * (flash_stride(width) + flash_stride(value) + kFlashQueries);
}

// The same that `attend` takes.
static constexpr std::int64_t latent_scratch(std::int64_t queries, std::int64_t rank,
                                             std::int64_t rope) {
    const std::int64_t rows = queries + kFlashQueries;
    return rows * (rank + rope + flash_stride(rank) + 2) + 64 +
           kPageTokens * (flash_stride(rank + rope) + kFlashQueries);
}

using Attend = void (*)(const LatentPages& pages, const LatentQueries& queries, float* scratch);
using AttendBlock = void (*)(const AttentionBlock& block, float* scratch);

// Multiply-adds of the INT8 dot product this instruction set has, from registers only: the
// ceiling that prefill is measured against. Returns how many were done (one per pair of numbers).
using DotLoop = std::int64_t (*)(std::int64_t rounds);
using FmaLoop = DotLoop;           // the same of float32

struct Isa {
    const char* name;
    bool (*supported)();           // by this processor, asked once
    int block;                     // bytes of INT4 weights in a block of FastRows
    int panel_tokens;              // from so many on fast_panel outruns fast_dot
    int group_bytes;               // of FastRows for 32 columns; more than 48: a form of its own behind
    WideDot wide_dot[kFormats];    // by Format
    FastDot fast_dot;
    FastPanel fast_panel;
    Quantise quantise;
    SiluMultiply silu_multiply;
    Attend attend;
    AttendBlock attend_block;
    PackRow pack4, pack8;
    DotLoop dot_loop;
    FmaLoop fma_loop;
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
