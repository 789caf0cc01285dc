#include "python_attention.hpp"

#include "prefill.hpp"
#include "python_experts.hpp"
#include "python_latents.hpp"

namespace selenograph {
namespace {

class PythonPrefill {
public:
    PythonPrefill(Experts& experts, nb::handle query, PrefillShape shape, std::int64_t past)
        : experts_(experts) {
        if (shape.heads < 1 || shape.nope < 1 || shape.rope < 1 || shape.value < 1 || shape.rank < 1)
            throw InputError("impossible shape of heads");
        if (past < 0 || past > kMostPositions) throw InputError("past is outside 0 to 2^30");
        query_ = array2d(query, "query", -1, shape.heads * shape.head(), {nb::dtype<float>()}, "float32");
        if (side(query_, 0) > kMostTokens) throw InputError("too many tokens in one call");
        state_ = std::make_shared<PrefillState>(shape, static_cast<const float*>(query_.data()),
                                                side(query_, 0), past);
    }

    void add(nb::handle up, nb::handle latents) {
        const PrefillShape& s = state_->shape;
        const auto type = {nb::dtype<float>()};
        const Array up_in = array2d(up, "up", -1, s.heads * (s.nope + s.value), type, "float32");
        const std::int64_t count = side(up_in, 0);
        const Array latents_in = array2d(latents, "latents", count, s.rank + s.rope, type, "float32");
        if (count > state_->positions() - state_->done)
            throw InputError("more positions than the sequence has");
        auto job = std::make_shared<PrefillJob>(
            experts_.instructions(), state_, static_cast<const float*>(up_in.data()),
            static_cast<const float*>(latents_in.data()), count, experts_.threads());
        nb::gil_scoped_release unlocked;
        experts_.pool().submit(job);
        finish(*job);
        state_->done += count;
    }

    Result result() {
        const PrefillShape& s = state_->shape;
        if (state_->done != state_->positions())
            throw InputError(std::to_string(state_->positions() - state_->done) +
                             " positions are missing");
        return owned(state_, state_->out.get(), state_->tokens, s.heads * s.value);
    }

private:
    static constexpr std::int64_t kMostPositions = 1 << 30;

    Experts& experts_;
    Array query_;                      // keeps its memory
    std::shared_ptr<PrefillState> state_;
};

Result attend_latents(Experts& experts, nb::handle query, const std::vector<SequencePart>& parts,
                      std::int64_t layer, std::int64_t heads, std::int64_t rank, std::int64_t rope,
                      float softmax_scale) {
    if (heads < 1 || rank < 1 || rope < 1) throw InputError("impossible shape of heads");
    std::vector<LatentPart> latents = read_latents(parts, -1, rank, rope);
    std::int64_t tokens = 0;
    for (const LatentPart& part : latents) {
        tokens += part.count;
        if (layer < 0 || (layer + 1) * part.layer_bytes > part.page_bytes)
            throw InputError("no layer " + std::to_string(layer));
    }
    const Array query_in = array2d(query, "query", tokens, heads * (rank + rope), {nb::dtype<float>()},
                                   "float32");
    std::shared_ptr<LatentJob> job;
    {
        nb::gil_scoped_release unlocked;
        job = std::make_shared<LatentJob>(experts.instructions(),
                                          LatentHeads{heads, rank, rope, softmax_scale},
                                          std::move(latents), layer,
                                          static_cast<const float*>(query_in.data()), experts.threads());
        experts.pool().submit(job);
    }
    return await(job, heads * rank);
}

}  // namespace

void bind_attention(nb::module_& m) {
    nb::class_<PythonPrefill>(m, "Prefill")
        .def("__init__",
             [](PythonPrefill* self, Experts& experts, nb::handle query, std::int64_t past,
                std::int64_t heads, std::int64_t nope, std::int64_t rope, std::int64_t value,
                std::int64_t rank, float softmax_scale) {
                 new (self) PythonPrefill(experts, query,
                                          {heads, nope, rope, value, rank, softmax_scale}, past);
             },
             "experts"_a, "query"_a, "past"_a, nb::kw_only(), "heads"_a, "nope"_a, "rope"_a,
             "value"_a, "rank"_a, "softmax_scale"_a, nb::keep_alive<1, 2>())
        .def("add", &PythonPrefill::add, "up"_a, "latents"_a)
        .def("result", &PythonPrefill::result);
    m.def("attend_latents", &attend_latents, "experts"_a, "query"_a, "parts"_a, "layer"_a, nb::kw_only(),
          "heads"_a, "rank"_a, "rope"_a, "softmax_scale"_a);
}

}  // namespace selenograph
