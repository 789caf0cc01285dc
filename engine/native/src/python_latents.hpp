// Sequences in a pool of pages, as Python hands them over.
#pragma once

#include <nanobind/stl/tuple.h>

#include "edge.hpp"
#include "latents.hpp"

namespace selenograph {

// One sequence's new tokens: a pool [pages, layers, kPageTokens, row] (float32 or bfloat16 values, or
// uint8: rows of INT8), its page ids, the tokens before, the new ones.
using SequencePart = std::tuple<nb::object, nb::object, std::int64_t, std::int64_t>;

inline LatentForm latent_form(const nb::dlpack::dtype& type) {
    if (type == nb::dtype<float>()) return LatentForm::f32;
    if (type == kBf16) return LatentForm::bf16;
    if (type == nb::dtype<std::uint8_t>()) return LatentForm::int8;
    throw InputError("a pool must be float32, bfloat16 or uint8");
}

// Rows of a pool lie without gaps. It may have more than `layers`: one that foretells comes last.
inline LatentPart read_latents(const SequencePart& from, std::int64_t layers, std::int64_t rank,
                               std::int64_t rope, std::int64_t first) {
    const auto& [object, table, past, count] = from;
    nb::ndarray<nb::device::cpu> array;
    if (!nb::try_cast(object, array)) throw InputError("a pool is no CPU array");
    const LatentForm form = latent_form(array.dtype());
    const auto item = static_cast<std::int64_t>(array.itemsize());
    const auto axis = [&](int i) { return static_cast<std::int64_t>(array.shape(i)); };
    const std::int64_t row_bytes = latent_row_bytes(form, rank, rope);
    if (array.ndim() != 4 || axis(1) < layers || axis(2) != kPageTokens ||
        axis(3) * item != row_bytes || array.stride(3) != 1 || array.stride(2) != axis(3))
        throw InputError("a pool must be [pages, layers, 64, row], with rows of " +
                         std::to_string(row_bytes) + " bytes");
    nb::ndarray<nb::ro, nb::device::cpu, std::int32_t, nb::ndim<1>, nb::c_contig> ids;
    if (!nb::try_cast(table, ids)) throw InputError("page ids are no int32 vector");
    const std::vector<std::int32_t> pages(ids.data(), ids.data() + ids.shape(0));
    for (const std::int32_t page : pages)
        if (page < 0 || page >= axis(0))
            throw InputError("page " + std::to_string(page) + " is outside its pool");
    const auto room = static_cast<std::int64_t>(pages.size()) * kPageTokens;
    if (past < 0 || count < 0 || past > room - count)
        throw InputError("position " + std::to_string(past + count - 1) + " is outside its pages");
    return {static_cast<std::uint8_t*>(array.data()), pages, array.stride(0) * item,
            array.stride(1) * item, row_bytes, form, first, count, past};
}

inline std::vector<LatentPart> read_latents(const std::vector<SequencePart>& parts,
                                            std::int64_t layers, std::int64_t rank,
                                            std::int64_t rope) {
    std::vector<LatentPart> found;
    std::int64_t first = 0;
    for (const SequencePart& part : parts) {
        if (std::get<3>(part) == 0) continue;
        found.push_back(read_latents(part, layers, rank, rope, first));
        first += found.back().count;
    }
    return found;
}

}  // namespace selenograph
