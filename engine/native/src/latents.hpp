// Compressed latents in a pool of pages, and attention to them as part of a job.
#pragma once

#include <memory>
#include <vector>

#include "activations.hpp"
#include "pool.hpp"

namespace selenograph {

// New tokens of one sequence in a batch, and where its latents are and go: pages of a pool
// [pages, layers, kPageTokens, row].
struct LatentPart {
    std::uint8_t* pool;
    std::vector<std::int32_t> pages;
    std::int64_t page_bytes, layer_bytes, row_bytes;
    LatentForm form;
    std::int64_t first, count;     // tokens of the batch
    std::int64_t past;             // positions before them

    LatentPages layer(std::int64_t index) const {
        return {pool + index * layer_bytes, pages.data(), page_bytes, row_bytes, form};
    }
    std::uint8_t* row(std::int64_t index, std::int64_t position) const {
        return const_cast<std::uint8_t*>(layer(index).row(position));
    }
};

std::int64_t latent_row_bytes(LatentForm form, std::int64_t rank, std::int64_t rope);

// float32 [rank + rope] to a row of a page, each value to the nearest.
void store_latent(LatentForm form, const float* latent, std::int64_t rank, std::int64_t rope,
                  std::uint8_t* row);

struct LatentHeads {
    std::int64_t heads, rank, rope;
    float scale;

    std::int64_t width() const { return rank + rope; }
};

// Attention of a batch's tokens, whose latents are in their pages, in items that threads may take in
// any order: groups of queries over stretches of positions. Rows are queries [tokens, heads].
class LatentAttention {
public:
    LatentAttention(const Isa& isa, const LatentHeads& heads, const std::vector<LatentPart>& parts,
                    int threads);

    std::int64_t items() const { return static_cast<std::int64_t>(items_.size()); }
    // query [tokens, heads, rank + rope]
    void attend(std::int64_t layer, std::int64_t item, const float* query);
    // When all items are done: a row's weighted latents, [rank].
    void join(std::int64_t row, float* out) const;

private:
    struct Group {                 // queries that share the reading of latents
        std::int64_t part, row, rows, each, seen;
        std::int64_t first_item, stretches;
    };
    struct Item {
        std::int64_t group, begin, end;
        std::int64_t state;        // first row of most_, total_ and context_
    };

    void add_groups(std::int64_t part, std::int64_t wanted);

    const Isa& isa_;
    const LatentHeads heads_;
    const std::vector<LatentPart>& parts_;
    std::vector<Group> groups_;
    std::vector<Item> items_;
    std::vector<std::int64_t> group_;              // of a row
    Aligned<float> most_, total_, context_;
};

// The same as a job of its own.
class LatentJob final : public Job {
public:
    // query [tokens, heads * (rank + rope)] must outlive the job.
    LatentJob(const Isa& isa, const LatentHeads& heads, std::vector<LatentPart> parts,
              std::int64_t layer, const float* query, int threads)
        : heads_(heads),
          parts_(std::move(parts)),
          layer_(layer),
          query_(query),
          tokens_(parts_.empty() ? 0 : parts_.back().first + parts_.back().count),
          attention_(isa, heads_, parts_, threads),
          output_(tokens_ * heads.heads * heads.rank, Begin::unset) {}

    float* output() { return output_.get(); }      // [tokens, heads * rank]
    std::int64_t tokens() const { return tokens_; }

protected:
    int phases() const override { return 2; }
    std::int64_t items(int phase) const override {
        return phase == 0 ? attention_.items() : tokens_ * heads_.heads;
    }
    std::int64_t longest_run(int phase) const override { return phase == 0 ? 1 : 64; }
    void run(int phase, std::int64_t first, std::int64_t count) override {
        for (std::int64_t i = first; i < first + count && !aborted(); ++i) {
            if (phase == 0) attention_.attend(layer_, i, query_);
            if (phase == 1) attention_.join(i, output_.get() + i * heads_.rank);
        }
    }

private:
    const LatentHeads heads_;
    const std::vector<LatentPart> parts_;
    const std::int64_t layer_;
    const float* query_;
    const std::int64_t tokens_;
    LatentAttention attention_;
    Aligned<float> output_;
};

}  // namespace selenograph
