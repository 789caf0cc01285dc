// The vector set of 64-bit ARM with dot products of bytes (dotprod: every server and most phones since
// 2018).
//
// sdot adds four neighbouring bytes to an int32, just the four columns that share a multiplier, if
// the nibbles are zipped to the order of columns first. So a block of activations (one group) keeps
// q in that order: 32 bytes, then eight multipliers.
#pragma once

#include <arm_neon.h>

#include "../format.hpp"
#include "hold.hpp"

namespace selenograph {
namespace {

struct NeonSet {
    static constexpr int kWidth = 4;
    static constexpr int kAbreast = 4;
    static constexpr int kTile = 4;
    static constexpr bool kKeeps = false;
    static constexpr int kSums = 24;
    static constexpr int kPanelFrom = 5;
    static constexpr int kRows = 4;
    static constexpr int kAhead = 2048;
    static constexpr int kRowsAhead = 8192;
    using Floats = float32x4_t;
    using Ints = int32x4_t;
    using Bytes = uint8x16_t;

    static void prefetch(const std::uint8_t* at) { __builtin_prefetch(at); }
    static Floats zero() { return vdupq_n_f32(0.0f); }
    static Floats splat(float value) { return vdupq_n_f32(value); }
    static Ints splat_int(std::int32_t value) { return vdupq_n_s32(value); }
    static Floats load(const float* at) { return vld1q_f32(at); }
    static void store(float* at, Floats a) { vst1q_f32(at, a); }
    static Bytes load_bytes(const std::uint8_t* at) { return vld1q_u8(at); }
    static void store_bytes(std::uint8_t* at, Bytes a) { vst1q_u8(at, a); }
    static Ints load_ints(const std::int32_t* at) { return vld1q_s32(at); }
    static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
    static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
    static Floats div(Floats a, Floats b) { return vdivq_f32(a, b); }
    static Floats max(Floats a, Floats b) { return vmaxq_f32(a, b); }
    static Floats clamp(Floats a, float low, float high) {
        return vminq_f32(vmaxq_f32(a, splat(low)), splat(high));
    }
    static Floats nearest(Floats a) { return vrndnq_f32(a); }
    static Floats power_of_two(Floats whole) {
        return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(whole), splat_int(127)), 23));
    }
    static Floats to_float(Ints a) { return vcvtq_f32_s32(a); }
    static float sum(Floats a) { return vaddvq_f32(a); }
    static void hold(Bytes& value) { hold_vector(value); }
    static void hold(Floats& value) { hold_vector(value); }

    static void unpack(Bytes packed, Bytes& first, Bytes& second) {  // in the order of columns
        const Bytes low = vandq_u8(packed, vdupq_n_u8(15)), high = vshrq_n_u8(packed, 4);
        first = vzip1q_u8(low, high);
        second = vzip2q_u8(low, high);
    }
    static Ints dot(Bytes first, Bytes second, const std::uint8_t* x) {
        const int16x8_t multipliers = vreinterpretq_s16_u8(load_bytes(x + 2 * sizeof(Bytes)));
        const Ints a = fours(first, signed_bytes(x));
        const Ints b = fours(second, signed_bytes(x + sizeof(Bytes)));
        return vmlaq_s32(vmulq_s32(a, vmovl_s16(vget_low_s16(multipliers))), b,
                         vmovl_high_s16(multipliers));
    }

    // 4 rows of 16 bytes as a 4 x 4 matrix of 32-bit words, transposed.
    static void turn(const std::uint8_t* const* rows, std::int64_t at, Bytes* out) {
        uint32x4_t r[4];
        for (int i = 0; i < 4; ++i) r[i] = vreinterpretq_u32_u8(load_bytes(rows[i] + at));
        const uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(r[0], r[1]));
        const uint64x2_t b = vreinterpretq_u64_u32(vtrn2q_u32(r[0], r[1]));
        const uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(r[2], r[3]));
        const uint64x2_t d = vreinterpretq_u64_u32(vtrn2q_u32(r[2], r[3]));
        out[0] = vreinterpretq_u8_u64(vtrn1q_u64(a, c));
        out[1] = vreinterpretq_u8_u64(vtrn1q_u64(b, d));
        out[2] = vreinterpretq_u8_u64(vtrn2q_u64(a, c));
        out[3] = vreinterpretq_u8_u64(vtrn2q_u64(b, d));
    }
    // An octet of each row: its first and its last four columns.
    static void unpack_turned(Bytes packed, Bytes& first, Bytes& last) {
        Bytes rows01, rows23;
        unpack(packed, rows01, rows23);
        const uint32x4_t a = vreinterpretq_u32_u8(rows01), b = vreinterpretq_u32_u8(rows23);
        first = vreinterpretq_u8_u32(vuzp1q_u32(a, b));
        last = vreinterpretq_u8_u32(vuzp2q_u32(a, b));
    }
    struct Octet {
        int8x16_t first, last;
        Ints first_multiplier, last_multiplier;
    };
    template <int Width, int Tile>
    static constexpr bool kByHand = false;

    static Octet spread(const std::uint8_t* x, int octet) {
        const std::uint8_t* q = x + 8 * octet;
        const std::uint8_t* m = x + 2 * sizeof(Bytes) + 4 * octet;
        return {splat4(q), splat4(q + 4), splat2(m), splat2(m + 2)};
    }
    static void accumulate(Ints& sum, Bytes first, Bytes last, const Octet& x) {
        sum = vmlaq_s32(sum, fours(first, x.first), x.first_multiplier);
        sum = vmlaq_s32(sum, fours(last, x.last), x.last_multiplier);
        hold_vector(sum);
    }

    static Floats load_bf16(const std::uint8_t* at) {
        return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(at)), 16));
    }
    static Floats load_bf16(const std::uint8_t* at, int count) {
        std::uint8_t bytes[2 * kWidth] = {};
        std::memcpy(bytes, at, 2 * count);
        return load_bf16(bytes);
    }
    static Floats even_bf16(const std::uint8_t* at) {
        return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u8(load_bytes(at)), 16));
    }
    static Floats odd_bf16(const std::uint8_t* at) {
        return vreinterpretq_f32_u32(
            vandq_u32(vreinterpretq_u32_u8(load_bytes(at)), vdupq_n_u32(0xffff0000u)));
    }
    static Floats by_lane(Floats scales) { return scales; }  // a block is one group
    template <int I>
    static Floats pick(Floats scales) {
        return vdupq_laneq_f32(scales, I);
    }

    static Floats load_int8(const std::uint8_t* at) {
        std::int32_t four;
        std::memcpy(&four, at, 4);
        const int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
        return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
    }

    template <Format F>
    static void widen(const std::uint8_t* group, Floats* out) {
        if constexpr (F == Format::int4) {
            Bytes first, second;
            unpack(load_bytes(group), first, second);
            widen16(vsubq_s8(vreinterpretq_s8_u8(first), vdupq_n_s8(8)), out);
            widen16(vsubq_s8(vreinterpretq_s8_u8(second), vdupq_n_s8(8)), out + 4);
        } else if constexpr (F == Format::int8) {
            widen16(signed_bytes(group), out);
            widen16(signed_bytes(group + 16), out + 4);
        } else if constexpr (F == Format::bf16) {
            for (int i = 0; i < 8; ++i) out[i] = load_bf16(group + 8 * i);
        } else {
            for (int i = 0; i < 4; ++i) {
                const uint16x8_t wide = vmovl_u8(vld1_u8(group + 8 * i));
                out[2 * i] = widen_fp8(vmovl_u16(vget_low_u16(wide)));
                out[2 * i + 1] = widen_fp8(vmovl_high_u16(wide));
            }
        }
    }

private:
    static Ints fours(Bytes nibbles, int8x16_t x) {
        return vdotq_s32(vdupq_n_s32(0), vreinterpretq_s8_u8(nibbles), x);
    }
    static int8x16_t signed_bytes(const std::uint8_t* at) { return vreinterpretq_s8_u8(load_bytes(at)); }
    static int8x16_t splat4(const std::uint8_t* at) {
        std::int32_t four;
        std::memcpy(&four, at, sizeof four);
        return vreinterpretq_s8_s32(vdupq_n_s32(four));
    }
    static Ints splat2(const std::uint8_t* at) {
        return vmovl_s16(vld1_dup_s16(reinterpret_cast<const std::int16_t*>(at)));
    }
    static void widen16(int8x16_t bytes, Floats* out) {
        const int16x8_t a = vmovl_s8(vget_low_s8(bytes)), b = vmovl_high_s8(bytes);
        out[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(a)));
        out[1] = vcvtq_f32_s32(vmovl_high_s16(a));
        out[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(b)));
        out[3] = vcvtq_f32_s32(vmovl_high_s16(b));
    }
    static Floats widen_fp8(uint32x4_t bits) {
        const uint32x4_t rest = vandq_u32(bits, vdupq_n_u32(0x7f));
        const uint32x4_t sign = vshlq_n_u32(veorq_u32(bits, rest), 24);
        const uint32x4_t nan = vceqq_u32(rest, vdupq_n_u32(0x7f));  // all ones is NaN
        const uint32x4_t value = vorrq_u32(sign, vshlq_n_u32(rest, 20));
        return vreinterpretq_f32_u32(vorrq_u32(value, nan));
    }
};

}  // namespace
}  // namespace selenograph
