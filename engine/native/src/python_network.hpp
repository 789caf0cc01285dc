// The network as Python sees it.
#pragma once

#include <nanobind/nanobind.h>

namespace selenograph {

void bind_network(nanobind::module_& m);

}  // namespace selenograph
