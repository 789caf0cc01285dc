// The object that Python holds: threads, and the layers and matrices they work on.
#pragma once

#include <unordered_map>

#include "edge.hpp"
#include "linear.hpp"
#include "pack.hpp"

namespace selenograph {

inline Topology topology(int threads, const std::vector<std::vector<int>>& nodes) {
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

    // An expert's bytes are from now on those of `parts`, which hold the same. The caller sees to it
    // that no job which uses this expert is under way.
    void move_expert(std::int64_t index, std::int64_t expert, nb::sequence parts) {
        const auto found = layers_.find(index);
        if (found == layers_.end()) throw InputError("no layer " + std::to_string(index));
        Layer& layer = *found->second;
        const auto count = static_cast<std::int64_t>(layer.experts.size());
        if (expert < 0 || expert >= count)
            throw InputError("expert id " + std::to_string(expert) + " is outside 0.." +
                             std::to_string(count - 1));
        Expert& old = layer.experts[expert];
        const std::string name = "expert " + std::to_string(expert);
        const Expert fresh = read_expert(parts, name, old.inter(), layer.hidden);
        if (fresh.gate.format != old.gate.format || fresh.up.format != old.up.format ||
            fresh.down.format != old.down.format)
            throw InputError(name + " has another format than before");
        std::vector<nb::object>& owners = moved_[index];
        owners.resize(count);
        owners[expert] = nb::tuple(parts);
        old = fresh;
    }

    // The one expert of layer `gated` serves every token of layer `index` from now on.
    void share(std::int64_t index, std::int64_t gated) {
        const std::shared_ptr<const Layer> from = layer(gated);
        if (from->experts.size() != 1) throw InputError("a shared expert is one");
        if (from->hidden != layer(index)->hidden) throw InputError("the layers are not of one width");
        layers_[index]->shared.push_back(from->experts[0]);
    }

    std::shared_ptr<ForwardJob> submit(std::int64_t index, nb::handle x, nb::handle ids,
                                       nb::handle weights) {
        const std::shared_ptr<const Layer> layer = this->layer(index);
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

    // For each of the matrices, which have x in common.
    std::vector<Result> linear(const std::vector<std::int64_t>& indices, nb::handle x) {
        std::vector<Matrix> matrices;
        for (const std::int64_t index : indices) {
            if (index < 0 || index >= static_cast<std::int64_t>(matrices_.size()))
                throw InputError("no matrix " + std::to_string(index));
            matrices.push_back(matrices_[index]);
            if (matrices.back().columns != matrices[0].columns)
                throw InputError("the matrices are not of as many columns");
        }
        if (matrices.empty()) throw InputError("no matrix");
        const Array x_in = activations(x, matrices[0].columns);
        std::shared_ptr<LinearJob> job;
        {
            nb::gil_scoped_release unlocked;
            job = std::make_shared<LinearJob>(*isa_, mode_, std::move(matrices), float_rows(x_in));
            pool_.submit(job);
        }
        std::vector<Result> results;
        {
            nb::gil_scoped_release unlocked;
            finish(*job);
        }
        for (std::size_t i = 0; i < indices.size(); ++i)
            results.push_back(owned(job, job->output(i), job->tokens(), job->matrices()[i].rows));
        return results;
    }

    // bf16 [rows, columns] -> bytes of its INT4 or INT8 and of their bf16 scales.
    std::pair<Bytes, Bytes> pack(nb::handle source, int bits) {
        const Matrix matrix = read_matrix(nb::make_tuple(source), "the matrix", -1, -1);
        if (bits != 4 && bits != 8) throw InputError("bits must be 4 or 8");
        if (matrix.columns % kGroup != 0)
            throw InputError("the matrix has " + std::to_string(matrix.columns) +
                             " columns, which are no whole groups of 32");
        auto job = std::make_shared<PackJob>(*isa_, bits, matrix);
        {
            nb::gil_scoped_release unlocked;
            pool_.submit(job);
            finish(*job);
        }
        return {owned(job, job->data(), matrix.rows, matrix.columns * bits / 8),
                owned(job, job->scales(), matrix.rows, matrix.groups() * 2)};
    }

    // What a network of layers shares with this object.
    const Isa& instructions() const { return *isa_; }
    Mode precision() const { return mode_; }
    Pool& pool() { return pool_; }
    std::shared_ptr<const Layer> layer(std::int64_t index) const {
        const auto found = layers_.find(index);
        if (found == layers_.end()) throw InputError("no layer " + std::to_string(index));
        return found->second;
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
    std::unordered_map<std::int64_t, std::vector<nb::object>> moved_;  // ... also where they went
    std::unordered_map<std::int64_t, std::shared_ptr<Layer>> layers_;  // under the GIL
    std::vector<Matrix> matrices_;    // under the GIL
    Pool pool_;                       // last: its threads end before what they read goes
};

}  // namespace selenograph
