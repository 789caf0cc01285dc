// AMX with INT8 tiles (Intel's servers since Sapphire Rapids) for prefill; AVX-512 VNNI for the rest.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isa_table.hpp"
#include "kernels/amx_panel.hpp"
#include "kernels/pack_avx2.hpp"
#include "kernels/zmm_vnni.hpp"

namespace selenograph {
namespace {

// Four products of 16 x 16 x 64 a round.
std::int64_t dot_loop(std::int64_t rounds) {
    load_tile_config();
    for (std::int64_t i = 0; i < rounds; ++i) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
    return rounds * 4 * kTileSide * kTileSide * kTileRow;
}

// The system keeps a thread's tiles only for processes that asked.
bool permitted() {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool supported() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;   // older compilers have no names for them
    const bool tiles = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx >> 24 & 3) == 3;
    return tiles && has_avx512_vnni() && permitted();
}

constexpr Isa with_tiles(Isa isa) {
    isa.panel_tokens = kTokenTile + 1;
    isa.group_bytes = kBothForms;
    isa.fast_panel = amx_panel<ZmmVnniSet>;
    return isa;
}

}  // namespace

const Isa kAmxInt8 =
    with_tiles(table<ZmmVnniSet>("amx_int8", supported, quantise_row_amx, dot_loop,
                                pack_row_avx2<4>, pack_row_avx2<8>));

}  // namespace selenograph
