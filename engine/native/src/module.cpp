// The Python edge: everything is checked here, once; behind it kernels trust what they get.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "experts.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace selenograph {
namespace {

using Array = nb::ndarray<nb::ro, nb::device::cpu>;
constexpr nb::dlpack::dtype kBf16{static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat), 16, 1};
constexpr std::int64_t kMostTokens = 1 << 20;
constexpr int kMostThreads = 1024;

struct InputError : std::runtime_error { using runtime_error::runtime_error; };
struct AbortedError : std::runtime_error { using runtime_error::runtime_error; };
struct ClosedError : std::runtime_error { using runtime_error::runtime_error; };

std::string shape_text(std::int64_t rows, std::int64_t columns) {
    return "[" + std::to_string(rows) + ", " + std::to_string(columns) + "]";
}

// A contiguous CPU matrix of one of the given types; -1 leaves a dimension open.
Array matrix(nb::handle object, const std::string& name, std::int64_t rows, std::int64_t columns,
             std::initializer_list<nb::dlpack::dtype> types, const char* type_names) {
    Array array;
    if (!nb::try_cast(object, array)) throw InputError(name + " is no CPU array");
    bool known = false;
    for (const auto& type : types) known = known || array.dtype() == type;
    if (!known) throw InputError(name + " must be " + type_names);
    if (array.ndim() != 2) throw InputError(name + " must have two dimensions");
    const auto r = static_cast<std::int64_t>(array.shape(0));
    const auto c = static_cast<std::int64_t>(array.shape(1));
    if ((rows >= 0 && r != rows) || (columns >= 0 && c != columns))
        throw InputError(name + " has shape " + shape_text(r, c) + ", expected " +
                         shape_text(rows < 0 ? r : rows, columns < 0 ? c : columns));
    const bool contiguous =
        r * c == 0 || ((c == 1 || array.stride(1) == 1) && (r == 1 || array.stride(0) == c));
    if (!contiguous) throw InputError(name + " is not contiguous");
    return array;
}

Int4Matrix int4_matrix(nb::handle packed, nb::handle scale, const std::string& name,
                       std::int64_t rows, std::int64_t columns) {
    const Array p = matrix(packed, name + ".weight_packed", rows, columns < 0 ? -1 : columns / 8,
                           {nb::dtype<std::int32_t>()}, "int32");
    rows = static_cast<std::int64_t>(p.shape(0));
    columns = static_cast<std::int64_t>(p.shape(1)) * 8;
    if (rows == 0 || columns == 0 || rows % kRowBlock != 0 || columns % kGroup != 0)
        throw InputError(name + " is " + shape_text(rows, columns) +
                         "; both must be positive multiples of 32");
    const Array s = matrix(scale, name + ".weight_scale", rows, columns / kGroup, {kBf16}, "bfloat16");
    return {static_cast<const std::uint8_t*>(p.data()), static_cast<const std::uint8_t*>(s.data()),
            rows, columns / kGroup};
}

class Experts {
public:
    Experts(int threads, const std::string& isa, const std::string& mode)
        : isa_(find_isa(isa)), mode_(mode == "fast" ? Mode::fast : Mode::exact), pool_(checked(threads)) {
        if (isa_ == nullptr) throw InputError("instruction set '" + isa + "' is not available here");
        if (mode != "fast" && mode != "exact") throw InputError("mode must be 'exact' or 'fast'");
    }

    void add_layer(std::int64_t index, nb::sequence experts) {
        auto layer = std::make_shared<Layer>();
        layer->inter = layer->hidden = -1;
        for (nb::handle item : experts) {
            const std::string name = "expert " + std::to_string(layer->experts.size());
            const auto parts = nb::cast<nb::sequence>(item);
            if (nb::len(parts) != 6)
                throw InputError(name + " needs six arrays: packed and scale of gate, up and down");
            const Int4Matrix gate =
                int4_matrix(parts[0], parts[1], name + ".gate_proj", layer->inter, layer->hidden);
            layer->inter = gate.rows;
            layer->hidden = gate.groups * kGroup;
            const Int4Matrix up =
                int4_matrix(parts[2], parts[3], name + ".up_proj", layer->inter, layer->hidden);
            const Int4Matrix down =
                int4_matrix(parts[4], parts[5], name + ".down_proj", layer->hidden, layer->inter);
            layer->experts.push_back({gate, up, down});
        }
        if (layer->experts.empty()) throw InputError("a layer needs at least one expert");
        if (layers_.count(index)) throw InputError("layer " + std::to_string(index) + " is there already");
        owners_.push_back(nb::tuple(experts));
        layers_[index] = std::move(layer);
    }

    std::shared_ptr<ForwardJob> submit(std::int64_t index, nb::handle x, nb::handle ids,
                                       nb::handle weights) {
        const auto found = layers_.find(index);
        if (found == layers_.end()) throw InputError("no layer " + std::to_string(index));
        const std::shared_ptr<const Layer> layer = found->second;
        const Array x_in = matrix(x, "x", -1, layer->hidden, {nb::dtype<float>(), kBf16},
                                  "float32 or bfloat16");
        const auto tokens = static_cast<std::int64_t>(x_in.shape(0));
        if (tokens > kMostTokens) throw InputError("too many tokens in one call");
        const Array ids_in = matrix(ids, "ids", tokens, -1, {nb::dtype<std::int32_t>()}, "int32");
        const auto top_k = static_cast<std::int64_t>(ids_in.shape(1));
        const Array weights_in =
            matrix(weights, "weights", tokens, top_k, {nb::dtype<float>()}, "float32");
        const auto* id = static_cast<const std::int32_t*>(ids_in.data());
        const auto count = static_cast<std::int64_t>(layer->experts.size());
        if (top_k > count) throw InputError("more experts per token than there are");
        const bool wide = x_in.dtype() == nb::dtype<float>();

        nb::gil_scoped_release unlocked;
        for (std::int64_t i = 0; i < tokens * top_k; ++i)
            if (id[i] < 0 || id[i] >= count)
                throw InputError("expert id " + std::to_string(id[i]) + " is outside 0.." +
                                 std::to_string(count - 1));
        auto job = std::make_shared<ForwardJob>(*isa_, mode_, layer, tokens, top_k, id,
                                                static_cast<const float*>(weights_in.data()));
        const std::int64_t groups = layer->hidden / kGroup;
        for (std::int64_t i = 0; i < tokens * groups; ++i) {
            float widened[kGroup];
            const float* values = static_cast<const float*>(x_in.data()) + i * kGroup;
            if (!wide) {
                const auto* narrow = static_cast<const std::uint16_t*>(x_in.data()) + i * kGroup;
                for (int c = 0; c < kGroup; ++c) widened[c] = widen_bf16(narrow[c]);
                values = widened;
            }
            job->input().put(i / groups, i % groups, values);
        }
        pool_.submit(job);
        return job;
    }

    void abort() { pool_.abort(); }
    void close() { pool_.close(); }
    int threads() const { return pool_.threads(); }
    std::string isa() const { return isa_->name; }
    std::string mode() const { return mode_ == Mode::fast ? "fast" : "exact"; }

private:
    static int checked(int threads) {
        if (threads < 1 || threads > kMostThreads) throw InputError("threads must be 1 to 1024");
        return threads;
    }

    const Isa* isa_;
    Mode mode_;
    std::vector<nb::object> owners_;  // keep the mapped bytes alive
    std::unordered_map<std::int64_t, std::shared_ptr<const Layer>> layers_;  // under the GIL
    Pool pool_;                       // last: its threads end before what they read goes
};

nb::ndarray<nb::numpy, float, nb::ndim<2>> wait(const std::shared_ptr<ForwardJob>& job) {
    Outcome outcome;
    {
        nb::gil_scoped_release unlocked;
        outcome = job->wait();
    }
    if (outcome == Outcome::aborted) throw AbortedError("the expert forward was aborted");
    if (outcome == Outcome::closed) throw ClosedError("the expert pool was closed");
    auto* keep = new std::shared_ptr<ForwardJob>(job);
    nb::capsule owner(keep, [](void* p) noexcept { delete static_cast<std::shared_ptr<ForwardJob>*>(p); });
    return {job->output(),
            {static_cast<std::size_t>(job->tokens()), static_cast<std::size_t>(job->hidden())},
            owner};
}

std::vector<std::string> isa_names() {
    std::vector<std::string> names;
    for (const Isa* isa : available_isas()) names.emplace_back(isa->name);
    return names;
}

}  // namespace
}  // namespace selenograph

NB_MODULE(_kernels, m) {
    using namespace selenograph;
    nb::exception<InputError>(m, "InputError", PyExc_ValueError);
    nb::exception<AbortedError>(m, "AbortedError", PyExc_Exception);
    nb::exception<ClosedError>(m, "ClosedError", PyExc_Exception);

    m.def("available_isas", &isa_names);
    nb::class_<ForwardJob>(m, "Ticket")
        .def_prop_ro("done", [](ForwardJob& job) { return job.outcome() != Outcome::pending; });
    nb::class_<Experts>(m, "Experts")
        .def(nb::init<int, const std::string&, const std::string&>(), "threads"_a, "isa"_a = "auto",
             "mode"_a = "exact")
        .def("add_layer", &Experts::add_layer, "layer"_a, "experts"_a)
        .def("submit", &Experts::submit, "layer"_a, "x"_a, "ids"_a, "weights"_a)
        .def("wait", [](Experts&, const std::shared_ptr<ForwardJob>& job) { return wait(job); },
             "ticket"_a)
        .def("abort", &Experts::abort)
        .def("close", &Experts::close, nb::call_guard<nb::gil_scoped_release>())
        .def_prop_ro("threads", &Experts::threads)
        .def_prop_ro("isa", &Experts::isa)
        .def_prop_ro("mode", &Experts::mode);
}
