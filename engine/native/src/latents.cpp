#include "latents.hpp"

#include <algorithm>
#include <cmath>

#include "scratch.hpp"

namespace selenograph {
namespace {

constexpr std::int64_t kGroupRows = 64;        // whose queries and sums stay in the second cache
constexpr std::int64_t kLeastGroupRows = 16;   // fewer would not pay for the widening of latents
constexpr std::int64_t kStretchRows = 128;     // positions of an item, at least
constexpr std::int64_t kItemsPerThread = 2;

std::uint16_t narrow(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // to even
}

void store_bf16(const float* values, std::int64_t count, std::uint8_t* out) {
    for (std::int64_t c = 0; c < count; ++c) {
        const std::uint16_t bits = narrow(values[c]);
        std::memcpy(out + 2 * c, &bits, 2);
    }
}

// A group with a value that is not finite has a scale that is not, and so has no value that is.
void store_int8(const float* values, std::int64_t count, std::uint8_t* out, std::uint8_t* scales) {
    for (std::int64_t c = 0; c < count; c += kLatentGroup, scales += 4) {
        const std::int64_t end = std::min<std::int64_t>(c + kLatentGroup, count);
        float most = 0.0f;
        for (std::int64_t i = c; i < end; ++i)
            if (!(std::fabs(values[i]) <= most)) most = std::fabs(values[i]);
        const float scale = std::isfinite(most) ? most / 127.0f : NAN;
        std::memcpy(scales, &scale, 4);
        const float step = std::max(scale, 1.17549435e-38f);
        for (std::int64_t i = c; i < end; ++i) {
            const float steps = std::isfinite(most) ? std::nearbyint(values[i] / step) : 0.0f;
            const auto small = static_cast<std::int8_t>(std::clamp(steps, -127.0f, 127.0f));
            std::memcpy(out + i, &small, 1);
        }
    }
}

}  // namespace

std::int64_t latent_row_bytes(LatentForm form, std::int64_t rank, std::int64_t rope) {
    if (form == LatentForm::f32) return 4 * (rank + rope);
    if (form == LatentForm::bf16) return 2 * (rank + rope);
    const std::int64_t groups = (rank + kLatentGroup - 1) / kLatentGroup;
    return (rank + 2 * rope + 4 * groups + 3) / 4 * 4;
}

void store_latent(LatentForm form, const float* latent, std::int64_t rank, std::int64_t rope,
                  std::uint8_t* row) {
    switch (form) {
        case LatentForm::f32: std::memcpy(row, latent, (rank + rope) * 4); break;
        case LatentForm::bf16: store_bf16(latent, rank + rope, row); break;
        case LatentForm::int8:
            store_int8(latent, rank, row, row + rank + 2 * rope);
            store_bf16(latent + rank, rope, row + rank);
    }
}

LatentAttention::LatentAttention(const Isa& isa, const LatentHeads& heads,
                                 const std::vector<LatentPart>& parts, int threads)
    : isa_(isa), heads_(heads), parts_(parts) {
    const auto count = static_cast<std::int64_t>(parts.size());
    const std::int64_t wanted = count > 0 ? (kItemsPerThread * threads + count - 1) / count : 0;
    for (std::int64_t p = 0; p < count; ++p) add_groups(p, wanted);
    std::int64_t rows = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
        const Group& group = groups_[g];
        const std::int64_t end = group.seen + (group.rows - 1) / group.each;
        for (std::int64_t s = 0; s < group.stretches; ++s) {
            items_.push_back({static_cast<std::int64_t>(g), end * s / group.stretches,
                              end * (s + 1) / group.stretches, rows});
            rows += group.rows;
        }
    }
    most_ = Aligned<float>(rows);
    total_ = Aligned<float>(rows);
    context_ = Aligned<float>(rows * heads.rank, Begin::unset);
}

// Long contexts are divided among threads by positions, short ones by heads.
void LatentAttention::add_groups(std::int64_t index, std::int64_t wanted) {
    const LatentPart& part = parts_[index];
    const std::int64_t heads = heads_.heads, rows = part.count * heads;
    const std::int64_t most = std::max<std::int64_t>(1, (part.past + part.count) / kStretchRows);
    const std::int64_t limit = std::clamp(rows * most / wanted, kLeastGroupRows, kGroupRows);
    const std::int64_t tokens = std::max<std::int64_t>(1, limit / heads);      // of a group
    const std::int64_t pieces = (heads + limit - 1) / limit;                   // of a token's heads
    const std::int64_t groups = (part.count + tokens - 1) / tokens * pieces;
    const std::int64_t stretches = std::min(most, (wanted + groups - 1) / groups);
    for (std::int64_t t = 0; t < part.count; t += tokens) {
        const std::int64_t here = std::min(tokens, part.count - t);
        for (std::int64_t i = 0; i < pieces; ++i) {
            const std::int64_t first = heads * i / pieces, last = heads * (i + 1) / pieces;
            Group group{index, (part.first + t) * heads + first, last - first, last - first,
                        part.past + t + 1, 0, stretches};
            if (pieces == 1) group.rows *= here;
            if (!groups_.empty())
                group.first_item = groups_.back().first_item + groups_.back().stretches;
            group_.resize(std::max<std::int64_t>(group_.size(), group.row + group.rows));
            std::fill_n(group_.begin() + group.row, group.rows,
                        static_cast<std::int64_t>(groups_.size()));
            groups_.push_back(group);
        }
    }
}

void LatentAttention::attend(std::int64_t layer, std::int64_t index, const float* query) {
    const Item& item = items_[index];
    const Group& group = groups_[item.group];
    LatentQueries queries;
    queries.query = query + group.row * heads_.width();
    queries.count = group.rows;
    queries.rank = heads_.rank;
    queries.rope = heads_.rope;
    queries.seen = group.seen;
    queries.each = group.each;
    queries.begin = item.begin;
    queries.end = item.end;
    queries.scale = heads_.scale;
    queries.most = most_.get() + item.state;
    queries.total = total_.get() + item.state;
    queries.context = context_.get() + item.state * heads_.rank;
    isa_.attend(parts_[group.part].layer(layer), queries,
                thread_scratch(latent_scratch(queries.count, heads_.rank, heads_.rope)));
}

void LatentAttention::join(std::int64_t row, float* out) const {
    const Group& group = groups_[group_[row]];
    const auto state = [&](std::int64_t stretch) {
        return items_[group.first_item + stretch].state + row - group.row;
    };
    float high = kLeast, total = 0.0f;
    for (std::int64_t s = 0; s < group.stretches; ++s) high = std::max(high, most_.get()[state(s)]);
    std::fill_n(out, heads_.rank, 0.0f);
    for (std::int64_t s = 0; s < group.stretches; ++s) {
        const float share = std::exp(most_.get()[state(s)] - high);
        total += share * total_.get()[state(s)];
        const float* context = context_.get() + state(s) * heads_.rank;
        for (std::int64_t c = 0; c < heads_.rank; ++c) out[c] += share * context[c];
    }
    for (std::int64_t c = 0; c < heads_.rank; ++c) out[c] /= total;
}

}  // namespace selenograph
