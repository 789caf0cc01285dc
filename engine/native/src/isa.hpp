// The table of kernels that an instruction set provides, and the choice among them.
#pragma once

#include <string>
#include <vector>

#include "format.hpp"

namespace selenograph {

// y[t, r] = dot(matrix row first_row + r, activations of tokens[t]) for r < 32, t < count <= 4.
using DotBlock = void (*)(const Int4Matrix& matrix, std::int64_t first_row, const Activations& x,
                          const std::int64_t* tokens, int count, float* y);

struct Isa {
    const char* name;
    bool (*supported)();           // by this processor, asked once
    DotBlock exact;                // float32 activations
    DotBlock fast;                 // INT8 activations, a scale per group of 32
};

extern const Isa kScalar;
#ifdef SELENOGRAPH_X86
extern const Isa kAvx2;
#endif

std::vector<const Isa*> available_isas();       // worst first
const Isa* find_isa(const std::string& name);   // "auto": the best; null if unknown or unsupported

}  // namespace selenograph
