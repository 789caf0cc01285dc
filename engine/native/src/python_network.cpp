#include "python_network.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include "network.hpp"
#include "python_experts.hpp"
#include "python_latents.hpp"

namespace selenograph {
namespace {

std::vector<float> floats(nb::handle object, const std::string& name, std::int64_t count) {
    nb::ndarray<nb::ro, nb::device::cpu, float, nb::ndim<1>, nb::c_contig> array;
    if (!nb::try_cast(object, array)) throw InputError(name + " is no float32 vector");
    const auto size = static_cast<std::int64_t>(array.shape(0));
    if (count >= 0 && size != count)
        throw InputError(name + " has " + std::to_string(size) + " values, expected " +
                         std::to_string(count));
    return {array.data(), array.data() + size};
}

class PythonNetwork {
public:
    PythonNetwork(Experts& experts, NetworkShape shape)
        : experts_(experts), network_(std::make_shared<Network>()) {
        network_->shape = shape;
        if (shape.hidden < 1 || shape.heads < 1 || shape.nope < 1 || shape.rope < 2 ||
            shape.rope % 2 != 0 || shape.value < 1 || shape.rank < 1 || shape.groups < 1)
            throw InputError("impossible shape of a network");
    }

    void add_layer(nb::dict parts) {
        const NetworkShape& s = network_->shape;
        const auto matrix = [&](const char* name, std::int64_t rows, std::int64_t columns) {
            return read_matrix(parts[name], name, rows, columns);
        };
        NetworkLayer layer;
        AttentionWeights& a = layer.attention;
        a.norm = floats(parts["attention_norm"], "attention_norm", s.hidden);
        std::int64_t query_input = s.hidden;
        if (parts.contains("q_a")) {
            a.q_a = matrix("q_a", -1, s.hidden);
            query_input = a.q_a->rows;
            a.q_a_norm = floats(parts["q_a_norm"], "q_a_norm", query_input);
        }
        a.q_b = matrix("q_b", s.heads * s.head(), query_input);
        a.kv_a = matrix("kv_a", s.latent(), s.hidden);
        a.kv_a_norm = floats(parts["kv_a_norm"], "kv_a_norm", s.rank);
        a.key_up = matrix("key_up", s.heads * s.rank, s.nope);
        a.kv_b = matrix("kv_b", s.heads * (s.nope + s.value), s.rank);
        a.out = matrix("out", s.hidden, s.heads * s.value);
        layer.norm = floats(parts["mlp_norm"], "mlp_norm", s.hidden);
        auto mlp = std::make_shared<Layer>();
        mlp->hidden = s.hidden;
        if (parts.contains("router")) {
            layer.router = matrix("router", -1, s.hidden);
            layer.bias = floats(parts["bias"], "bias", layer.router->rows);
            mlp->experts = experts_.layer(nb::cast<std::int64_t>(parts["experts"]))->experts;
            const auto count = static_cast<std::int64_t>(mlp->experts.size());
            if (count != layer.router->rows || mlp->experts[0].gate.columns != s.hidden)
                throw InputError("router and experts are not of one layer");
            if (s.top_k < 1 || s.top_k > count || count % s.groups != 0 || s.top_groups < 1 ||
                s.top_groups > s.groups || s.top_k > count / s.groups * s.top_groups)
                throw InputError("impossible choice of experts");
        }
        if (parts.contains("shared"))
            mlp->shared.push_back(read_expert(parts["shared"], "shared", -1, s.hidden));
        if (mlp->experts.empty() && mlp->shared.empty())
            throw InputError("a layer needs a router or a shared expert");
        layer.mlp = std::move(mlp);
        const bool lora = layer.attention.q_a.has_value();
        if (!network_->layers.empty() && lora != network_->layers[0].attention.q_a.has_value())
            throw InputError("layers differ in their queries");
        network_->layers.push_back(std::move(layer));
        owners_.push_back(parts);
    }

    void finish(nb::handle norm, nb::tuple head) {
        if (network_->layers.empty()) throw InputError("a network needs a layer");
        network_->norm = floats(norm, "norm", network_->shape.hidden);
        network_->head = read_matrix(head, "head", -1, network_->shape.hidden);
        network_->shape.vocab = network_->head.rows;
        owners_.push_back(head);
    }

    // Each token's row of x, of cosines and sines; where the latents of each sequence are. Back come
    // logits, hidden states after the final norm, and the experts that were chosen.
    std::tuple<Result, Result, std::vector<std::int32_t>> step(
        nb::handle x, nb::handle cosine, nb::handle sine, const std::vector<SequencePart>& parts) {
        const NetworkShape& s = network_->shape;
        if (s.vocab == 0) throw InputError("the network has no head yet");
        const auto layers = static_cast<std::int64_t>(network_->layers.size());
        std::vector<LatentPart> places = read_latents(parts, layers, s.rank, s.rope);
        const std::int64_t tokens = places.empty() ? 0 : places.back().first + places.back().count;
        const auto type = {nb::dtype<float>()};
        const Array x_in = array2d(x, "x", tokens, s.hidden, {nb::dtype<float>(), kBf16}, "float32 or bfloat16");
        const Array cos_in = array2d(cosine, "cosine", tokens, s.rope / 2, type, "float32");
        const Array sin_in = array2d(sine, "sine", tokens, s.rope / 2, type, "float32");
        std::shared_ptr<StepJob> job;
        {
            nb::gil_scoped_release unlocked;
            job = std::make_shared<StepJob>(experts_.instructions(), experts_.precision(), network_,
                                            std::move(places), experts_.threads());
            fill(*job, x_in);
            const std::int64_t half = s.rope / 2;
            for (std::int64_t t = 0; t < tokens; ++t) {
                std::memcpy(job->cosines(t), static_cast<const float*>(cos_in.data()) + t * half, half * 4);
                std::memcpy(job->sines(t), static_cast<const float*>(sin_in.data()) + t * half, half * 4);
            }
            experts_.pool().submit(job);
        }
        Result logits = await(job, s.vocab);
        return {std::move(logits), owned(job, job->hidden(), tokens, s.hidden), job->chosen()};
    }

private:
    Experts& experts_;
    std::shared_ptr<Network> network_;
    std::vector<nb::object> owners_;   // keep the mapped bytes alive
};

}  // namespace

void bind_network(nb::module_& m) {
    nb::class_<PythonNetwork>(m, "Network")
        .def("__init__",
             [](PythonNetwork* self, Experts& experts, std::int64_t hidden, std::int64_t heads,
                std::int64_t nope, std::int64_t rope, std::int64_t value, std::int64_t rank,
                std::int64_t top_k, std::int64_t groups, std::int64_t top_groups, bool normalise,
                bool interleaved, float routed_scale, float softmax_scale, float eps,
                float latent_eps) {
                 new (self) PythonNetwork(
                     experts, {hidden, heads, nope, rope, value, rank, 0, top_k, groups, top_groups,
                               normalise, interleaved, routed_scale, softmax_scale, eps, latent_eps});
             },
             "experts"_a, nb::kw_only(), "hidden"_a, "heads"_a, "nope"_a, "rope"_a, "value"_a,
             "rank"_a, "top_k"_a, "groups"_a, "top_groups"_a, "normalise"_a, "interleaved"_a,
             "routed_scale"_a, "softmax_scale"_a, "eps"_a, "latent_eps"_a, nb::keep_alive<1, 2>())
        .def("add_layer", &PythonNetwork::add_layer, "parts"_a)
        .def("finish", &PythonNetwork::finish, "norm"_a, "head"_a)
        .def("step", &PythonNetwork::step, "x"_a, "cosine"_a, "sine"_a, "parts"_a);
}

}  // namespace selenograph
