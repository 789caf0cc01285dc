#include "prefill.hpp"

#include <algorithm>

#include "scratch.hpp"

namespace selenograph {
namespace {

constexpr std::int64_t kMostQueries = 512;     // of an item: their state should stay in a cache
constexpr std::int64_t kLeastQueries = 96;     // keys and values are gathered anew for each
constexpr std::int64_t kItemsPerThread = 4;

}  // namespace

PrefillJob::PrefillJob(const Isa& isa, std::shared_ptr<PrefillState> state, const float* up,
                       const float* latents, std::int64_t count, int threads)
    : isa_(isa), state_(std::move(state)), up_(up), latents_(latents), count_(count) {
    const std::int64_t tokens = state_->tokens, heads = state_->shape.heads;
    const auto parts = [tokens](std::int64_t each) { return (tokens + each - 1) / each; };
    const std::int64_t wanted = (kItemsPerThread * threads + heads - 1) / heads;
    chunks_ = std::clamp(wanted, parts(kMostQueries), std::max<std::int64_t>(parts(kMostQueries),
                                                                           parts(kLeastQueries)));
}

void PrefillJob::run(int, std::int64_t first, std::int64_t count) {
    for (std::int64_t i = first; i < first + count && !aborted(); ++i)
        attend(i % state_->shape.heads, i / state_->shape.heads);
}

void PrefillJob::attend(std::int64_t head, std::int64_t chunk) {
    PrefillState& state = *state_;
    const PrefillShape& s = state.shape;
    const std::int64_t begin = state.tokens * chunk / chunks_;
    const std::int64_t end = state.tokens * (chunk + 1) / chunks_;
    const std::int64_t width = s.rank + s.rope, pair = s.nope + s.value;
    AttentionBlock block;
    block.query = state.query + (begin * s.heads + head) * s.head();
    block.query_stride = s.heads * s.head();
    block.queries = end - begin;
    block.key = up_ + head * pair;
    block.values = block.key + s.nope;
    block.key_stride = s.heads * pair;
    block.rotary = latents_ + s.rank;
    block.rotary_stride = width;
    block.count = count_;
    block.nope = s.nope;
    block.rope = s.rope;
    block.value = s.value;
    block.seen = state.past + begin + 1 - state.done;
    block.first = state.done == 0;
    block.last = state.done + count_ == state.positions();
    block.scale = s.scale;
    block.most = state.most.get() + head * state.tokens + begin;
    block.total = state.total.get() + head * state.tokens + begin;
    block.out = state.out.get() + (begin * s.heads + head) * s.value;
    block.out_stride = s.heads * s.value;
    isa_.attend_block(block, thread_scratch(flash_scratch(block.queries, s.head(), s.value)));
}

}  // namespace selenograph
