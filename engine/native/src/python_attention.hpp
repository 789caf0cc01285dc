// Attention as Python sees it.
#pragma once

#include <nanobind/nanobind.h>

namespace selenograph {

void bind_attention(nanobind::module_& m);

}  // namespace selenograph
