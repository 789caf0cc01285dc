// Memory that a thread of the pool works in.
#pragma once

#include "activations.hpp"

namespace selenograph {

// The thread's own, aligned to 64 bytes, as large as it ever needed. Holds anything.
inline float* thread_scratch(std::int64_t floats) {
    thread_local std::int64_t size = 0;
    thread_local Aligned<float> memory;
    if (size < floats) {
        memory = Aligned<float>(floats);
        size = floats;
    }
    return memory.get();
}

}  // namespace selenograph
