// One instruction set's row of the table, from its vector set.
#pragma once

#include "isa.hpp"
#include "kernels/attention.hpp"
#include "kernels/dot_loop.hpp"
#include "kernels/pack.hpp"
#include "kernels/panel.hpp"
#include "kernels/prefill.hpp"
#include "kernels/silu.hpp"
#include "kernels/wide.hpp"

namespace selenograph {
namespace {

template <class V>
constexpr Isa table(const char* name, bool (*supported)(), Quantise quantise, DotLoop dot_loop,
                    PackRow pack4 = pack_row<4>, PackRow pack8 = pack_row<8>) {
    return {name,
            supported,
            FastLayout<V>::kBlock,
            V::kPanelFrom,
            3 * kGroup / 2,
            {wide_dot<V, Format::int4>, wide_dot<V, Format::int8>, wide_dot<V, Format::bf16>,
             wide_dot<V, Format::fp8>, wide_dot<V, Format::f32>},
            fast_dot<V>,
            fast_panel<V>,
            quantise,
            silu_multiply<V>,
            attend<V>,
            attend_block<V>,
            pack4,
            pack8,
            dot_loop,
            fma_chains<V>};
}

}  // namespace
}  // namespace selenograph
