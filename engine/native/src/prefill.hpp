// Attention of a prompt's chunk over all that its sequence has cached, block by block, so that keys and
// values never exist for more than a block.
#pragma once

#include <vector>

#include "activations.hpp"
#include "pool.hpp"

namespace selenograph {

struct PrefillShape {
    std::int64_t heads, nope, rope, value, rank;
    float scale;

    std::int64_t head() const { return nope + rope; }
};

// What blocks leave to the next, and in the end the result.
struct PrefillState {
    const PrefillShape shape;
    const float* query;            // [tokens, heads * head], rotated; the last tokens of the sequence
    const std::int64_t tokens, past;
    std::int64_t done = 0;         // positions so far
    Aligned<float> most, total;    // [heads, tokens]
    Aligned<float> out;            // [tokens, heads * value]

    PrefillState(const PrefillShape& s, const float* queries, std::int64_t count, std::int64_t before)
        : shape(s),
          query(queries),
          tokens(count),
          past(before),
          most(s.heads * count),
          total(s.heads * count),
          out(count * s.heads * s.value, Begin::unset) {}
    std::int64_t positions() const { return past + tokens; }
};

// One block: positions state.done .. state.done + count. The caller moves `done` on.
class PrefillJob final : public Job {
public:
    // up [count, heads * (nope + value)]: each head's keys and values. latents [count, rank + rope]:
    // of which the rotated keys are used.
    PrefillJob(const Isa& isa, std::shared_ptr<PrefillState> state, const float* up,
               const float* latents, std::int64_t count, int threads);

protected:
    int phases() const override { return 1; }
    std::int64_t items(int) const override { return state_->shape.heads * chunks_; }
    std::int64_t longest_run(int) const override { return 1; }
    void run(int phase, std::int64_t first, std::int64_t count) override;

private:
    void attend(std::int64_t head, std::int64_t chunk);

    const Isa& isa_;
    const std::shared_ptr<PrefillState> state_;
    const float* up_;
    const float* latents_;
    const std::int64_t count_;
    std::int64_t chunks_;          // of a head's queries
};

}  // namespace selenograph
