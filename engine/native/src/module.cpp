// The Python edge. Shapes, dtypes, contiguity and ids are checked here, once; kernels rely on them.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <unordered_map>

#include "experts.hpp"
#include "linear.hpp"
#include "probe.hpp"

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

std::int64_t side(const Array& array, int axis) {
    return static_cast<std::int64_t>(array.shape(axis));
}

// A contiguous CPU matrix of one of the given types; -1 leaves a dimension open.
Array array2d(nb::handle object, const std::string& name, std::int64_t rows, std::int64_t columns,
              std::initializer_list<nb::dlpack::dtype> types, const char* type_names) {
    Array array;
    if (!nb::try_cast(object, array)) throw InputError(name + " is no CPU array");
    bool known = false;
    for (const auto& type : types) known = known || array.dtype() == type;
    if (!known) throw InputError(name + " must be " + type_names);
    if (array.ndim() != 2) throw InputError(name + " must have two dimensions");
    const std::int64_t r = side(array, 0), c = side(array, 1);
    if ((rows >= 0 && r != rows) || (columns >= 0 && c != columns))
        throw InputError(name + " has shape " + shape_text(r, c) + ", expected " +
                         shape_text(rows < 0 ? r : rows, columns < 0 ? c : columns));
    const bool contiguous =
        r * c == 0 || ((c == 1 || array.stride(1) == 1) && (r == 1 || array.stride(0) == c));
    if (!contiguous) throw InputError(name + " is not contiguous");
    return array;
}

const std::uint8_t* bytes_of(const Array& array) {
    return static_cast<const std::uint8_t*>(array.data());
}

// Its format is told by what it is made of: (int32, bf16) is INT4, (int8, bf16) INT8,
// (uint8, float32) FP8, and (bf16) itself.
Matrix read_matrix(nb::handle object, const std::string& name, std::int64_t rows,
                   std::int64_t columns) {
    nb::sequence parts;
    if (!nb::try_cast(object, parts) || nb::len(parts) < 1 || nb::len(parts) > 2)
        throw InputError(name + " must be a tuple of data and, unless it is bfloat16, scales");
    const bool scaled = nb::len(parts) == 2;
    Matrix matrix;
    const Array data =
        array2d(parts[0], name, -1, -1,
                {nb::dtype<std::int32_t>(), nb::dtype<std::int8_t>(), nb::dtype<std::uint8_t>(), kBf16},
                "int32 (INT4), int8, uint8 (FP8) or bfloat16");
    matrix.data = bytes_of(data);
    matrix.rows = side(data, 0);
    matrix.columns = side(data, 1);
    if (data.dtype() == nb::dtype<std::int32_t>()) {
        matrix.columns *= 8;
    } else {
        matrix.format = data.dtype() == kBf16                       ? Format::bf16
                        : data.dtype() == nb::dtype<std::int8_t>() ? Format::int8
                                                                    : Format::fp8;
    }
    if ((rows >= 0 && matrix.rows != rows) || (columns >= 0 && matrix.columns != columns))
        throw InputError(name + " has shape " + shape_text(matrix.rows, matrix.columns) +
                         ", expected " + shape_text(rows < 0 ? matrix.rows : rows,
                                                    columns < 0 ? matrix.columns : columns));
    if (matrix.rows == 0 || matrix.columns == 0) throw InputError(name + " is empty");
    if (scaled != (matrix.format != Format::bf16))
        throw InputError(name + (scaled ? " is bfloat16 and takes no scales" : " needs scales"));
    const bool grouped = matrix.format == Format::int4 || matrix.format == Format::int8;
    if (grouped && matrix.columns % kGroup != 0)
        throw InputError(name + " has " + std::to_string(matrix.columns) +
                         " columns, which are no whole groups of 32");
    if (grouped) {
        matrix.scales = bytes_of(array2d(parts[1], name + "'s scale", matrix.rows,
                                         matrix.columns / kGroup, {kBf16}, "bfloat16"));
    } else if (scaled) {
        const auto blocks = [](std::int64_t n) { return (n + kFp8Block - 1) / kFp8Block; };
        matrix.scales = bytes_of(array2d(parts[1], name + "'s scale", blocks(matrix.rows),
                                         blocks(matrix.columns), {nb::dtype<float>()}, "float32"));
    }
    return matrix;
}

Expert read_expert(nb::handle object, const std::string& name, std::int64_t inter,
                   std::int64_t hidden) {
    nb::sequence parts;
    if (!nb::try_cast(object, parts) || nb::len(parts) != 3)
        throw InputError(name + " needs three matrices: gate, up and down");
    const Matrix gate = read_matrix(parts[0], name + ".gate_proj", inter, hidden);
    const Matrix up = read_matrix(parts[1], name + ".up_proj", gate.rows, gate.columns);
    const Matrix down = read_matrix(parts[2], name + ".down_proj", gate.columns, gate.rows);
    return {gate, up, down};
}

// Rows of float32 or bfloat16 into a job's float32 input.
template <class J>
void fill(J& job, const Array& x) {
    const std::int64_t columns = side(x, 1);
    for (std::int64_t t = 0; t < side(x, 0); ++t) {
        float* row = job.input(t);
        if (x.dtype() == kBf16) {
            const auto* from = static_cast<const std::uint16_t*>(x.data()) + t * columns;
            for (std::int64_t c = 0; c < columns; ++c) row[c] = widen_bf16(from[c]);
        } else {
            std::memcpy(row, static_cast<const float*>(x.data()) + t * columns, columns * 4);
        }
    }
}

using Result = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

// Sleeps without the GIL until a job is over; the array keeps the job alive.
template <class J>
Result await(const std::shared_ptr<J>& job, std::int64_t columns) {
    Outcome outcome;
    {
        nb::gil_scoped_release unlocked;
        outcome = job->wait();
    }
    if (outcome == Outcome::aborted) throw AbortedError("the forward was aborted");
    if (outcome == Outcome::closed) throw ClosedError("the pool was closed");
    auto* keep = new std::shared_ptr<J>(job);
    nb::capsule owner(keep, [](void* p) noexcept { delete static_cast<std::shared_ptr<J>*>(p); });
    return {job->output(),
            {static_cast<std::size_t>(job->tokens()), static_cast<std::size_t>(columns)},
            owner};
}

Topology topology(int threads, const std::vector<std::vector<int>>& nodes) {
    if (threads < 1 || threads > kMostThreads) throw InputError("threads must be 1 to 1024");
    if (nodes.empty()) return Topology::flat(threads);
    if (static_cast<int>(nodes.size()) > threads)
        throw InputError("there are more memory nodes than threads");
    Topology result{nodes, {}};
    const auto count = static_cast<int>(nodes.size());
    for (int t = 0; t < threads; ++t) result.node_of.push_back(t * count / threads);
    return result;
}

class Experts {
public:
    Experts(int threads, const std::string& isa, const std::string& mode,
            const std::vector<std::vector<int>>& nodes)
        : isa_(find_isa(isa)),
          mode_(mode == "fast" ? Mode::fast : Mode::exact),
          pool_(topology(threads, nodes)) {
        if (isa_ == nullptr) throw InputError("instruction set '" + isa + "' is not available here");
        if (mode != "fast" && mode != "exact") throw InputError("mode must be 'exact' or 'fast'");
    }

    void add_layer(std::int64_t index, nb::sequence experts, nb::sequence shared) {
        auto layer = std::make_shared<Layer>();
        std::int64_t inter = -1;
        layer->hidden = -1;
        for (nb::handle item : experts) {
            const std::string name = "expert " + std::to_string(layer->experts.size());
            layer->experts.push_back(read_expert(item, name, inter, layer->hidden));
            inter = layer->experts.back().inter();
            layer->hidden = layer->experts.back().gate.columns;
        }
        if (layer->experts.empty()) throw InputError("a layer needs at least one expert");
        for (nb::handle item : shared)
            layer->shared.push_back(read_expert(item, "shared expert", -1, layer->hidden));
        if (layers_.count(index)) throw InputError("layer " + std::to_string(index) + " is there already");
        owners_.push_back(nb::make_tuple(nb::tuple(experts), nb::tuple(shared)));
        layers_[index] = std::move(layer);
    }

    std::shared_ptr<ForwardJob> submit(std::int64_t index, nb::handle x, nb::handle ids,
                                       nb::handle weights) {
        const auto found = layers_.find(index);
        if (found == layers_.end()) throw InputError("no layer " + std::to_string(index));
        const std::shared_ptr<const Layer> layer = found->second;
        const Array x_in = activations(x, layer->hidden);
        const std::int64_t tokens = side(x_in, 0);
        const Array ids_in = array2d(ids, "ids", tokens, -1, {nb::dtype<std::int32_t>()}, "int32");
        const std::int64_t top_k = side(ids_in, 1);
        const Array weights_in =
            array2d(weights, "weights", tokens, top_k, {nb::dtype<float>()}, "float32");
        const auto* id = static_cast<const std::int32_t*>(ids_in.data());
        const auto count = static_cast<std::int64_t>(layer->experts.size());
        if (top_k > count) throw InputError("more experts per token than there are");

        nb::gil_scoped_release unlocked;
        for (std::int64_t i = 0; i < tokens * top_k; ++i)
            if (id[i] < 0 || id[i] >= count)
                throw InputError("expert id " + std::to_string(id[i]) + " is outside 0.." +
                                 std::to_string(count - 1));
        auto job = std::make_shared<ForwardJob>(*isa_, mode_, layer, tokens, top_k, id,
                                                static_cast<const float*>(weights_in.data()));
        fill(*job, x_in);
        pool_.submit(job);
        return job;
    }

    std::int64_t add_matrix(nb::tuple parts) {
        matrices_.push_back(read_matrix(parts, "the matrix", -1, -1));
        owners_.push_back(parts);
        return static_cast<std::int64_t>(matrices_.size()) - 1;
    }

    Result linear(std::int64_t index, nb::handle x) {
        if (index < 0 || index >= static_cast<std::int64_t>(matrices_.size()))
            throw InputError("no matrix " + std::to_string(index));
        const Matrix matrix = matrices_[index];
        const Array x_in = activations(x, matrix.columns);
        std::shared_ptr<LinearJob> job;
        {
            nb::gil_scoped_release unlocked;
            job = std::make_shared<LinearJob>(*isa_, mode_, matrix, side(x_in, 0));
            fill(*job, x_in);
            pool_.submit(job);
        }
        return await(job, matrix.rows);
    }

    void abort() { pool_.abort(); }
    void close() { pool_.close(); }
    int threads() const { return pool_.threads(); }
    std::string isa() const { return isa_->name; }
    std::string mode() const { return mode_ == Mode::fast ? "fast" : "exact"; }

private:
    static Array activations(nb::handle x, std::int64_t columns) {
        Array array = array2d(x, "x", -1, columns, {nb::dtype<float>(), kBf16}, "float32 or bfloat16");
        if (side(array, 0) > kMostTokens) throw InputError("too many tokens in one call");
        return array;
    }

    const Isa* isa_;
    Mode mode_;
    std::vector<nb::object> owners_;  // keep the mapped bytes alive
    std::unordered_map<std::int64_t, std::shared_ptr<const Layer>> layers_;  // under the GIL
    std::vector<Matrix> matrices_;    // under the GIL
    Pool pool_;                       // last: its threads end before what they read goes
};

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

double probe_read(int threads, std::int64_t mebibytes, double seconds) {
    check_probe(threads, seconds);
    if (mebibytes < 1 || mebibytes > (1 << 20)) throw InputError("mebibytes must be 1 to 2^20");
    nb::gil_scoped_release unlocked;
    return read_bandwidth(threads, mebibytes << 20, seconds) / 1e9;
}

double probe_dot(const std::string& isa, int threads, double seconds) {
    check_probe(threads, seconds);
    const Isa& found = named_isa(isa);
    nb::gil_scoped_release unlocked;
    return dot_peak(found, threads, seconds) / 1e9;
}

}  // namespace
}  // namespace selenograph

NB_MODULE(_kernels, m) {
    using namespace selenograph;
    nb::exception<InputError>(m, "InputError", PyExc_ValueError);
    nb::exception<AbortedError>(m, "AbortedError", PyExc_Exception);
    nb::exception<ClosedError>(m, "ClosedError", PyExc_Exception);

    m.def("available_isas", &isa_names);
    m.def("read_bandwidth", &probe_read, "threads"_a, "mebibytes"_a = 512, "seconds"_a = 0.3);
    m.def("dot_peak", &probe_dot, "isa"_a, "threads"_a, "seconds"_a = 0.1);
    nb::class_<ForwardJob>(m, "Ticket")
        .def_prop_ro("done", [](ForwardJob& job) { return job.outcome() != Outcome::pending; });
    nb::class_<Experts>(m, "Experts")
        .def(nb::init<int, const std::string&, const std::string&,
                      const std::vector<std::vector<int>>&>(),
             "threads"_a, "isa"_a = "auto", "mode"_a = "exact",
             "nodes"_a = std::vector<std::vector<int>>())
        .def("add_layer", &Experts::add_layer, "layer"_a, "experts"_a, "shared"_a = nb::tuple())
        .def("submit", &Experts::submit, "layer"_a, "x"_a, "ids"_a, "weights"_a)
        .def("wait",
             [](Experts&, const std::shared_ptr<ForwardJob>& job) { return await(job, job->hidden()); },
             "ticket"_a)
        .def("add_matrix", &Experts::add_matrix, "parts"_a)
        .def("linear", &Experts::linear, "matrix"_a, "x"_a)
        .def("abort", &Experts::abort)
        .def("close", &Experts::close, nb::call_guard<nb::gil_scoped_release>())
        .def_prop_ro("threads", &Experts::threads)
        .def_prop_ro("isa", &Experts::isa)
        .def_prop_ro("mode", &Experts::mode);
}
