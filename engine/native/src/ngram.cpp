#include "ngram.hpp"

#include <algorithm>

namespace selenograph {

constexpr int NgramIndex::kSizes[];

void NgramIndex::clear(int bits) {
    bits_ = bits;
    opened_ = 0;
    for (auto& table : tables_) table.assign(std::size_t{1} << bits, 0);
}

// The token at `at` is known: it follows the n-grams before it, and others end with it.
void NgramIndex::take(std::int64_t at) {
    for (int i = 0; i < opened_; ++i) tables_[i][open_[i]] = static_cast<std::int32_t>(at);
    constexpr std::uint64_t mix = 0x9E3779B97F4A7C15u;
    std::uint64_t mixed = 0;
    opened_ = 0;
    for (int n = 1; n <= kSizes[kTables - 1] && n <= at + 1; ++n) {
        mixed = (mixed + static_cast<std::uint32_t>(tokens_[at + 1 - n]) + 1) * mix;
        if (n == kSizes[opened_]) open_[opened_++] = (mixed ^ mixed >> 32) * mix >> (64 - bits_);
    }
}

std::int64_t NgramIndex::matched(std::int64_t at) const {
    const auto end = static_cast<std::int64_t>(tokens_.size());
    const std::int64_t most = std::min(at, kLongest);
    std::int64_t length = 0;
    while (length < most && tokens_[at - 1 - length] == tokens_[end - 1 - length]) ++length;
    return length;
}

NgramIndex::Look NgramIndex::look(const std::int32_t* fresh, std::int64_t count) {
    const auto begin = static_cast<std::int64_t>(tokens_.size());
    tokens_.insert(tokens_.end(), fresh, fresh + count);
    Look found{at_, length_, 0, false};
    for (std::int64_t i = 0; i < count && found.length && !found.wrong; ++i) {
        found.wrong = tokens_[found.at] != fresh[i];
        if (found.wrong) continue;
        ++found.right;
        ++found.at;
        found.length = std::min(found.length + 1, kLongest);
    }
    if (found.wrong) found.length = 0;

    const auto end = begin + count;
    int bits = bits_;
    while (2 * end > std::int64_t{1} << bits) ++bits;
    const bool anew = bits > bits_;
    if (anew) clear(bits);
    for (std::int64_t at = anew ? 0 : begin; at < end; ++at) take(at);

    for (int i = opened_ - 1; i >= 0; --i) {
        const std::int64_t at = tables_[i][open_[i]];
        const std::int64_t length = matched(at);
        if (length < kSizes[i]) continue;
        // A longer match may be older: the list being copied, not the entry just written.
        if (length >= found.length && found.length < kLongest) found.at = at, found.length = length;
        break;
    }
    at_ = found.at;
    length_ = found.length;
    return found;
}

std::int64_t NgramIndex::bytes() const {
    std::int64_t all = tokens_.capacity() * sizeof(std::int32_t);
    for (const auto& table : tables_) all += table.capacity() * sizeof(std::int32_t);
    return all;
}

}  // namespace selenograph
