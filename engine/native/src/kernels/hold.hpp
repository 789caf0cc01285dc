// What the compiler must not see through.
#pragma once

namespace selenograph {
namespace {

// Keeps a vector in a register: it is taken for changed.
template <class Vector>
inline void hold_vector([[maybe_unused]] Vector& value) {
#if defined(SELENOGRAPH_EMULATED)  // the tests' vectors are arrays
#elif defined(__x86_64__)
    __asm__("" : "+v"(value));
#else
    __asm__("" : "+w"(value));
#endif
}

// The memory at `at`, and all that others know of, is taken for read and changed.
[[maybe_unused]] inline void hold_memory(const void* at) {
    __asm__ volatile("" : : "r"(at) : "memory");
}

}  // namespace
}  // namespace selenograph
