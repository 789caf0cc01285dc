#include "python_ngram.hpp"

#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "ngram.hpp"

namespace selenograph {

void bind_ngram(nanobind::module_& m) {
    using namespace nanobind::literals;
    nanobind::class_<NgramIndex>(m, "NgramIndex")
        .def(nanobind::init<>())
        .def("look",
             [](NgramIndex& index, const std::vector<std::int32_t>& fresh) {
                 const auto found = index.look(fresh.data(), static_cast<std::int64_t>(fresh.size()));
                 return std::make_tuple(found.at, found.length, found.right, found.wrong);
             },
             "fresh"_a)
        .def_prop_ro("nbytes", &NgramIndex::bytes);
}

}  // namespace selenograph
