// The index of n-grams as Python sees it.
#pragma once

#include <nanobind/nanobind.h>

namespace selenograph {

void bind_ngram(nanobind::module_& m);

}  // namespace selenograph
