// How sets with a u8 * s8 product of neighbours (x86, and the plain form) multiply nibbles: the even
// columns in the low nibbles, the odd in the high ones, two and two added in int16, then by the
// multiplier that the four share.
//
// Set, the class that derives from this one, gives Bytes, Pairs (int16) and
//   load_bytes, low, high               a vector of bytes, its low and its high nibbles
//   multiply(weights, x)                u8 * s8, neighbours added to int16
//   add(Pairs, Pairs)
//   madd(Pairs, m)                      int16 * int16, neighbours added to int32
//   madd_to(Ints&, Pairs, m)            the same, added in place
//   hold(value&)                        keep it in a register: compilers prefer to unpack it again
//   splat4(at)                          the four bytes at `at` in every lane
//
// Int16 cannot overflow: four products of at most 15 * 127. Nor can int32: 7620 * 32767 twice.
#pragma once

#include "../format.hpp"

namespace selenograph {
namespace {

template <class Set>
struct Octet {
    typename Set::Bytes even, odd, multiplier;
};

template <class Set>
struct Pairwise {
    // Whether the set has `octet`, a panel's innermost step written out for its registers.
    template <int Width, int Tile>
    static constexpr bool kByHand = false;

    template <class Bytes>
    static void unpack(Bytes packed, Bytes& even, Bytes& odd) {
        even = Set::low(packed);
        odd = Set::high(packed);
        Set::hold(even);
        Set::hold(odd);
    }
    template <class Bytes>
    static void unpack_turned(Bytes packed, Bytes& even, Bytes& odd) {
        even = Set::low(packed);
        odd = Set::high(packed);
    }
    template <class Bytes>
    static auto dot(Bytes even, Bytes odd, const std::uint8_t* x) {
        return Set::madd(products(even, odd, Set::load_bytes(x), Set::load_bytes(x + sizeof(Bytes))),
                         Set::load_bytes(x + 2 * sizeof(Bytes)));
    }
    static auto spread(const std::uint8_t* x, int octet) {
        const std::uint8_t* at = x + 4 * octet;
        constexpr int kBlock = sizeof(typename Set::Bytes);
        return Octet<Set>{Set::splat4(at), Set::splat4(at + kBlock), Set::splat4(at + 2 * kBlock)};
    }
    template <class Ints, class Bytes>
    static void accumulate(Ints& sum, Bytes even, Bytes odd, const Octet<Set>& x) {
        Set::madd_to(sum, products(even, odd, x.even, x.odd), x.multiplier);
    }

private:
    template <class Bytes>
    static auto products(Bytes even, Bytes odd, Bytes x_even, Bytes x_odd) {
        return Set::add(Set::multiply(even, x_even), Set::multiply(odd, x_odd));
    }
};

}  // namespace
}  // namespace selenograph
