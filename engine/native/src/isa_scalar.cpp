// Plain C++ for any processor, and what every other instruction set must agree with.
#include "isa_table.hpp"
#include "kernels/pairwise.hpp"
#include "kernels/panel.hpp"
#include "kernels/quantise.hpp"
#include "kernels/wide.hpp"

namespace selenograph {
namespace {

template <class T, int N>
struct Lanes {
    T at[N];
};

// Vectors of 128 bits as arrays.
struct ScalarSet : Pairwise<ScalarSet> {
    static constexpr int kWidth = 4;
    static constexpr int kAbreast = 2;
    static constexpr int kTile = 2;
    static constexpr bool kKeeps = false;
    static constexpr int kSums = 12;
    static constexpr int kPanelFrom = 5;
    static constexpr int kRows = 2;
    static constexpr int kAhead = 0, kRowsAhead = 0;
    using Floats = Lanes<float, 4>;
    using Ints = Lanes<std::int32_t, 4>;
    using Pairs = Lanes<std::int16_t, 8>;
    using Bytes = Lanes<std::uint8_t, 16>;

    static void prefetch(const std::uint8_t*) {}
    static Floats zero() { return {}; }
    static Floats splat(float value) { return {{value, value, value, value}}; }
    static Ints splat_int(std::int32_t value) { return {{value, value, value, value}}; }
    template <class V>
    static V read(const void* from) {
        V value;
        std::memcpy(&value, from, sizeof value);
        return value;
    }
    static Floats load(const float* at) { return read<Floats>(at); }
    static void store(float* at, Floats a) { std::memcpy(at, &a, sizeof a); }
    static Bytes load_bytes(const std::uint8_t* at) { return read<Bytes>(at); }
    static void store_bytes(std::uint8_t* at, Bytes a) { std::memcpy(at, &a, sizeof a); }
    static Ints load_ints(const std::int32_t* at) { return read<Ints>(at); }
    static Floats add(Floats a, Floats b) {
        for (int i = 0; i < 4; ++i) a.at[i] += b.at[i];
        return a;
    }
    static Floats fma(Floats a, Floats b, Floats c) {
        for (int i = 0; i < 4; ++i) c.at[i] += a.at[i] * b.at[i];
        return c;
    }
    static Floats mul(Floats a, Floats b) {
        for (int i = 0; i < 4; ++i) a.at[i] *= b.at[i];
        return a;
    }
    static Floats div(Floats a, Floats b) {
        for (int i = 0; i < 4; ++i) a.at[i] /= b.at[i];
        return a;
    }
    static Floats max(Floats a, Floats b) {
        for (int i = 0; i < 4; ++i) a.at[i] = a.at[i] > b.at[i] ? a.at[i] : b.at[i];
        return a;
    }
    static Floats clamp(Floats a, float low, float high) {
        for (float& x : a.at) x = x < low ? low : x > high ? high : x;
        return a;
    }
    static Floats nearest(Floats a) {
        for (float& x : a.at) x = std::nearbyint(x);
        return a;
    }
    static Floats power_of_two(Floats whole) {
        for (float& x : whole.at) x = std::ldexp(1.0f, static_cast<int>(clamp_nan(x)));
        return whole;
    }
    static float clamp_nan(float x) { return x == x ? x : 0.0f; }
    static float sum(Floats a) { return (a.at[0] + a.at[2]) + (a.at[1] + a.at[3]); }
    static Floats to_float(Ints a) {
        Floats out;
        for (int i = 0; i < 4; ++i) out.at[i] = static_cast<float>(a.at[i]);
        return out;
    }

    static Bytes low(Bytes a) {
        for (auto& byte : a.at) byte &= 15;
        return a;
    }
    static Bytes high(Bytes a) {
        for (auto& byte : a.at) byte >>= 4;
        return a;
    }
    static Pairs multiply(Bytes weights, Bytes x) {
        Pairs out;
        for (int i = 0; i < 8; ++i)
            out.at[i] = static_cast<std::int16_t>(
                weights.at[2 * i] * static_cast<std::int8_t>(x.at[2 * i]) +
                weights.at[2 * i + 1] * static_cast<std::int8_t>(x.at[2 * i + 1]));
        return out;
    }
    static Pairs add(Pairs a, Pairs b) {
        for (int i = 0; i < 8; ++i) a.at[i] = static_cast<std::int16_t>(a.at[i] + b.at[i]);
        return a;
    }
    static void hold(Bytes&) {}
    static void hold(Floats& value) { hold_memory(&value); }
    static void madd_to(Ints& sum, Pairs a, Bytes by) {
        const auto m = read<Pairs>(&by);
        for (int i = 0; i < 4; ++i)
            sum.at[i] += a.at[2 * i] * m.at[2 * i] + a.at[2 * i + 1] * m.at[2 * i + 1];
    }
    static Ints madd(Pairs a, Bytes by) {
        Ints sum{};
        madd_to(sum, a, by);
        return sum;
    }
    static Bytes splat4(const std::uint8_t* at) {
        Bytes out;
        for (int i = 0; i < 4; ++i) std::memcpy(out.at + 4 * i, at, 4);
        return out;
    }
    static void turn(const std::uint8_t* const* rows, std::int64_t at, Bytes* out) {
        for (int o = 0; o < 4; ++o)
            for (int r = 0; r < 4; ++r) std::memcpy(out[o].at + 4 * r, rows[r] + at + 4 * o, 4);
    }

    static Floats load_bf16(const std::uint8_t* at) {
        Floats out;
        for (int i = 0; i < 4; ++i) out.at[i] = selenograph::load_bf16(at + 2 * i);
        return out;
    }
    static Floats load_bf16(const std::uint8_t* at, int count) {
        Floats out{};
        for (int i = 0; i < count; ++i) out.at[i] = selenograph::load_bf16(at + 2 * i);
        return out;
    }
    static Floats even_bf16(const std::uint8_t* at) {
        Floats out;
        for (int i = 0; i < 4; ++i) out.at[i] = selenograph::load_bf16(at + 4 * i);
        return out;
    }
    static Floats odd_bf16(const std::uint8_t* at) { return even_bf16(at + 2); }
    static Floats by_lane(Floats scales) { return scales; }  // a block is one group
    template <int I>
    static Floats pick(Floats scales) {
        return splat(scales.at[I]);
    }

    template <Format F>
    static float value(const std::uint8_t* group, int column) {
        if constexpr (F == Format::int4) {
            const int pair = group[column / 2];
            return static_cast<float>((column % 2 ? pair >> 4 : pair & 15) - 8);
        } else if constexpr (F == Format::int8) {
            return static_cast<float>(static_cast<std::int8_t>(group[column]));
        } else if constexpr (F == Format::bf16) {
            return selenograph::load_bf16(group + 2 * column);
        } else {
            if ((group[column] & 0x7f) == 0x7f) return NAN;
            const std::uint32_t bits = shifted_fp8(group[column]);
            return read<float>(&bits);
        }
    }
    static Floats load_int8(const std::uint8_t* at) {
        Floats wide;
        for (int i = 0; i < 4; ++i) wide.at[i] = static_cast<float>(static_cast<std::int8_t>(at[i]));
        return wide;
    }

    template <Format F>
    static void widen(const std::uint8_t* group, Floats* out) {
        for (int c = 0; c < kGroup; ++c) out[c / 4].at[c % 4] = value<F>(group, c);
    }
};

std::int64_t dot_loop(std::int64_t rounds) {
    volatile std::int8_t a = 3, b = -5;
    std::int32_t sum[8] = {};
    const std::int32_t x = a, y = b;
    for (std::int64_t i = 0; i < rounds; ++i)
        for (int j = 0; j < 8; ++j) sum[j] += (x + j) * (y ^ static_cast<std::int32_t>(i));
    volatile std::int32_t sink = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    (void)sink;
    return rounds * 8;
}

bool supported() { return true; }

}  // namespace

const Isa kScalar = table<ScalarSet>("scalar", supported, quantise_row<16>, dot_loop);

}  // namespace selenograph
