// What this machine can do at most: the ceilings that kernels and plans are measured against.
#pragma once

#include <cstdint>

#include "isa.hpp"

namespace selenograph {

// Bytes per second of reading anonymous memory in order, each thread its own part: at best, or
// `typical`ly, in the middle of the rounds.
double read_bandwidth(int threads, std::int64_t bytes, double seconds, bool typical = false);

// INT8 operations per second (two a multiply-add) of the instruction set's dot product.
double dot_peak(const Isa& isa, int threads, double seconds);

// The same of float32 multiply-adds.
double fma_peak(const Isa& isa, int threads, double seconds);

}  // namespace selenograph
