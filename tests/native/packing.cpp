// bf16 packed into INT4 and INT8.
#include <algorithm>
#include <string>

#include "checks.hpp"
#include "reference.hpp"

namespace selenograph::tests {

// The same bits as the plain form, and of a group that is not finite a scale that says so.
void check_packing_against_scalar(const Isa& isa) {
    Random random(6);
    const std::int64_t columns = 320;
    std::vector<std::uint16_t> row(columns);
    for (std::uint16_t& bits : row) {
        const float value = 0.05f * static_cast<float>(random_normal(random));
        std::uint32_t wide;
        std::memcpy(&wide, &value, 4);
        bits = static_cast<std::uint16_t>(wide >> 16);
    }
    std::fill(row.begin() + 32, row.begin() + 64, std::uint16_t{0});
    row[70] = 0x7f80;              // infinity
    row[100] = 0xffc1;             // NaN
    row[130] = 0x0001;             // the smallest there is
    const auto* source = reinterpret_cast<const std::uint8_t*>(row.data());
    for (const bool four : {true, false}) {
        const std::int64_t bytes = four ? columns / 2 : columns;
        std::vector<std::uint8_t> data(bytes), want(bytes), scales(20), want_scales(20);
        (four ? isa.pack4 : isa.pack8)(source, columns, data.data(), scales.data());
        (four ? kScalar.pack4 : kScalar.pack8)(source, columns, want.data(), want_scales.data());
        require(scales == want_scales, std::string(isa.name) + " packing: scales as scalar");
        require(std::isnan(load_bf16(scales.data() + 4)) && std::isnan(load_bf16(scales.data() + 6)),
                std::string(isa.name) + " packing what is not finite");
        for (std::int64_t g = 0; g < columns / kGroup; ++g) {
            if (g == 2 || g == 3) continue;
            const std::int64_t size = bytes / (columns / kGroup);
            require(std::equal(data.begin() + g * size, data.begin() + (g + 1) * size,
                               want.begin() + g * size),
                    std::string(isa.name) + " packing: values as scalar");
        }
    }
}

// bf16 to INT4 and INT8: no value further from its own than half a step, or the last one.
void check_packing(const Isa& isa) {
    Random random(5);
    const std::int64_t columns = 224;
    const RandomMatrix source(random, Format::bf16, 3, columns);
    for (const Format format : {Format::int4, Format::int8}) {
        const std::int64_t bytes = columns * group_bytes(format) / kGroup;
        for (std::int64_t r = 0; r < 3; ++r) {
            const Guarded data(bytes), scales(columns / kGroup * 2);
            (format == Format::int4 ? isa.pack4 : isa.pack8)(source.matrix.data + r * columns * 2,
                                                             columns, data.get(), scales.get());
            for (std::int64_t c = 0; c < columns; ++c) {
                const double scale = load_bf16(scales.get() + c / kGroup * 2);
                const int pair = data.get()[c / 2];
                const int q = format == Format::int4 ? (c % 2 ? pair >> 4 : pair & 15) - 8
                                                     : static_cast<std::int8_t>(data.get()[c]);
                // The scale's own rounding to bf16 may push the largest half a percent outside.
                const double step = format == Format::int4 ? 0.53 : 0.78;
                require(std::fabs(q * scale - source.values[r * columns + c]) <= step * scale,
                        std::string(isa.name) + " packing");
            }
        }
    }
}

}  // namespace selenograph::tests
