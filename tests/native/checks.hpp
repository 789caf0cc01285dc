// How a check says what failed, and the checks of an instruction set that have files of their own.
#pragma once

#include <cstdio>
#include <string>

#include "isa.hpp"

namespace selenograph::tests {

inline int failures = 0;

inline void require(bool right, const std::string& what) {
    if (right) return;
    ++failures;
    std::printf("FAILED: %s\n", what.c_str());
}

inline void require_below(double error, double limit, const std::string& what) {
    require(error < limit, what + ": error " + std::to_string(error * 1e3) + "e-3");
}

void check_attentions(const Isa& isa);
void check_prefills(const Isa& isa);
void check_packing(const Isa& isa);
void check_packing_against_scalar(const Isa& isa);

}  // namespace selenograph::tests
