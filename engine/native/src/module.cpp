// The extension module.
#include <nanobind/stl/pair.h>

#include "probe.hpp"
#include "python_attention.hpp"
#include "python_experts.hpp"
#include "python_network.hpp"
#include "python_ngram.hpp"

namespace selenograph {
namespace {

std::vector<std::string> isa_names() {
    std::vector<std::string> names;
    for (const Isa* isa : available_isas()) names.emplace_back(isa->name);
    return names;
}

const Isa& named_isa(const std::string& name) {
    const Isa* isa = find_isa(name);
    if (isa == nullptr) throw InputError("instruction set '" + name + "' is not available here");
    return *isa;
}

void check_probe(int threads, double seconds) {
    if (threads < 1 || threads > kMostThreads) throw InputError("threads must be 1 to 1024");
    if (!(seconds >= 0 && seconds <= 60)) throw InputError("seconds must be 0 to 60");
}

double probe_read(int threads, std::int64_t mebibytes, double seconds, bool typical) {
    check_probe(threads, seconds);
    if (mebibytes < 1 || mebibytes > (1 << 20)) throw InputError("mebibytes must be 1 to 2^20");
    nb::gil_scoped_release unlocked;
    return read_bandwidth(threads, mebibytes << 20, seconds, typical) / 1e9;
}

double probe_dot(const std::string& isa, int threads, double seconds) {
    check_probe(threads, seconds);
    const Isa& found = named_isa(isa);
    nb::gil_scoped_release unlocked;
    return dot_peak(found, threads, seconds) / 1e9;
}

double probe_fma(const std::string& isa, int threads, double seconds) {
    check_probe(threads, seconds);
    const Isa& found = named_isa(isa);
    nb::gil_scoped_release unlocked;
    return fma_peak(found, threads, seconds) / 1e9;
}

}  // namespace
}  // namespace selenograph

NB_MODULE(_kernels, m) {
    using namespace selenograph;
    nb::exception<InputError>(m, "InputError", PyExc_ValueError);
    nb::exception<AbortedError>(m, "AbortedError", PyExc_Exception);
    nb::exception<ClosedError>(m, "ClosedError", PyExc_Exception);

    m.def("available_isas", &isa_names);
    m.def("read_bandwidth", &probe_read, "threads"_a, "mebibytes"_a = 512, "seconds"_a = 0.3,
          "typical"_a = false);
    m.def("dot_peak", &probe_dot, "isa"_a, "threads"_a, "seconds"_a = 0.1);
    m.def("fma_peak", &probe_fma, "isa"_a, "threads"_a, "seconds"_a = 0.1);
    nb::class_<ForwardJob>(m, "Ticket")
        .def_prop_ro("done", [](ForwardJob& job) { return job.outcome() != Outcome::pending; });
    nb::class_<Experts>(m, "Experts")
        .def(nb::init<int, const std::string&, const std::string&,
                      const std::vector<std::vector<int>>&>(),
             "threads"_a, "isa"_a = "auto", "mode"_a = "exact",
             "nodes"_a = std::vector<std::vector<int>>())
        .def("add_layer", &Experts::add_layer, "layer"_a, "experts"_a, "shared"_a = nb::tuple())
        .def("move_expert", &Experts::move_expert, "layer"_a, "expert"_a, "parts"_a)
        .def("share", &Experts::share, "layer"_a, "gated"_a)
        .def("submit", &Experts::submit, "layer"_a, "x"_a, "ids"_a, "weights"_a)
        .def("wait",
             [](Experts&, const std::shared_ptr<ForwardJob>& job) { return await(job, job->hidden()); },
             "ticket"_a)
        .def("add_matrix", &Experts::add_matrix, "parts"_a)
        .def("pack", &Experts::pack, "source"_a, "bits"_a)
        .def("linear", &Experts::linear, "matrix"_a, "x"_a)
        .def("abort", &Experts::abort)
        .def("close", &Experts::close, nb::call_guard<nb::gil_scoped_release>())
        .def_prop_ro("threads", &Experts::threads)
        .def_prop_ro("isa", &Experts::isa)
        .def_prop_ro("mode", &Experts::mode);
    bind_attention(m);
    bind_network(m);
    bind_ngram(m);
}
