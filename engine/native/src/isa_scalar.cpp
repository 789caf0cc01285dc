// Plain C++: runs anywhere, and says what the others must compute.
#include "dot.hpp"
#include "isa.hpp"

namespace selenograph {
namespace {

struct ScalarSet {
    static constexpr int kWidth = 8;  // as AVX2, so that sums run in nearly the same order
    struct Floats {
        float lane[kWidth];
    };

    static Floats zero() { return splat(0.0f); }

    static Floats splat(float value) {
        Floats out;
        for (float& lane : out.lane) lane = value;
        return out;
    }

    static Floats load(const float* at) {
        Floats out;
        std::memcpy(out.lane, at, sizeof out.lane);
        return out;
    }

    static Floats load_bf16(const std::uint8_t* at) {
        Floats out;
        for (int i = 0; i < kWidth; ++i) out.lane[i] = selenograph::load_bf16(at + 2 * i);
        return out;
    }

    static Floats fma(const Floats& a, const Floats& b, const Floats& c) {
        Floats out;
        for (int i = 0; i < kWidth; ++i) out.lane[i] = a.lane[i] * b.lane[i] + c.lane[i];
        return out;
    }

    static float sum(const Floats& a) {
        return ((a.lane[0] + a.lane[4]) + (a.lane[2] + a.lane[6])) +
               ((a.lane[1] + a.lane[5]) + (a.lane[3] + a.lane[7]));
    }

    static void unpack(const std::uint8_t* bytes, Floats* weight) {
        for (int i = 0; i < kGroupBytes; ++i) {
            weight[i / kWidth].lane[i % kWidth] = static_cast<float>((bytes[i] & 15) - 8);
            weight[2 + i / kWidth].lane[i % kWidth] = static_cast<float>((bytes[i] >> 4) - 8);
        }
    }

    static Floats dot_group(const std::uint8_t* bytes, const std::int8_t* x) {
        std::int32_t lane[kWidth] = {};
        for (int i = 0; i < kGroupBytes; ++i)
            lane[i / 2] += (bytes[i] & 15) * x[i] + (bytes[i] >> 4) * x[kGroupBytes + i];
        Floats out;
        for (int i = 0; i < kWidth; ++i) out.lane[i] = static_cast<float>(lane[i]);
        return out;
    }
};

}  // namespace

const Isa kScalar = {"scalar", [] { return true; }, dot_block<ScalarSet, Exact<ScalarSet>>,
                     dot_block<ScalarSet, Fast<ScalarSet>>};

}  // namespace selenograph
