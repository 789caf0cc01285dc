// Rows of compressed latents as float32.
#pragma once

#include "../isa.hpp"

namespace selenograph {
namespace {

template <class V>
void widen_bf16_row(const std::uint8_t* row, std::int64_t count, float* out) {
    std::int64_t c = 0;
    for (; c + V::kWidth <= count; c += V::kWidth) V::store(out + c, V::load_bf16(row + 2 * c));
    for (; c < count; ++c) out[c] = load_bf16(row + 2 * c);
}

template <class V>
void widen_int8_row(const std::uint8_t* row, const std::uint8_t* scales, std::int64_t count,
                    float* out) {
    std::int64_t c = 0;
    for (; c + kGroup <= count; c += kGroup) {
        typename V::Floats wide[kGroup / V::kWidth];
        V::template widen<Format::int8>(row + c, wide);
        const auto scale = V::splat(load_float(scales + c / kLatentGroup * 4));
        for (int i = 0; i < kGroup / V::kWidth; ++i)
            V::store(out + c + i * V::kWidth, V::mul(wide[i], scale));
    }
    for (; c < count; ++c)
        out[c] = static_cast<float>(static_cast<std::int8_t>(row[c])) *
                 load_float(scales + c / kLatentGroup * 4);
}

// -> [rank + rope]
template <class V>
void widen_latent(const LatentPages& pages, std::int64_t position, std::int64_t rank,
                  std::int64_t rope, float* out) {
    const std::uint8_t* row = pages.row(position);
    switch (pages.form) {
        case LatentForm::f32: std::memcpy(out, row, (rank + rope) * 4); break;
        case LatentForm::bf16: widen_bf16_row<V>(row, rank + rope, out); break;
        case LatentForm::int8:
            widen_int8_row<V>(row, row + rank + 2 * rope, rank, out);
            widen_bf16_row<V>(row + rank, rope, out + rank);
    }
}

}  // namespace
}  // namespace selenograph
