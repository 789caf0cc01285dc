// Where the last few tokens of a growing sequence stood before, and how what followed did since.
//
// For each of three lengths n a hash table holds where an n-gram was last followed by something. A
// slot keeps the latest of the n-grams that share it, so a table has no chains and at most 16 bytes
// a token; what a slot says is compared with the tokens themselves.
#pragma once

#include <cstdint>
#include <vector>

namespace selenograph {

class NgramIndex {
   public:
    // The `length` tokens before `at` equal the last ones of the sequence; 0: no place was found.
    // Of the tokens taken in last, `right` followed the match before and then, if `wrong`, one did not.
    struct Look {
        std::int64_t at, length, right;
        bool wrong;
    };

    NgramIndex() { clear(10); }

    // Takes in the next tokens; a token costs O(1), amortised. Finds the longest match: the one
    // that is being followed, where none that came later is as long.
    Look look(const std::int32_t* fresh, std::int64_t count);

    std::int64_t bytes() const;

   private:
    static constexpr int kSizes[] = {2, 4, 8};
    static constexpr int kTables = 3;
    static constexpr std::int64_t kLongest = 32;   // matches are not measured beyond

    void clear(int bits);
    void take(std::int64_t at);
    std::int64_t matched(std::int64_t at) const;

    std::vector<std::int32_t> tokens_;
    std::vector<std::int32_t> tables_[kTables];
    std::uint64_t open_[kTables];                  // slots of the n-grams that end the sequence
    int bits_ = 0, opened_ = 0;
    std::int64_t at_ = 0, length_ = 0;
};

}  // namespace selenograph
