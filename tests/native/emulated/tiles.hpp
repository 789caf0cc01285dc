// The tile registers of AMX as the Intel Architecture Instruction Set Extensions reference defines
// them, one set a thread; a wrong use ends the program.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

struct EmulatedTiles {
    static constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;
    bool configured = false;
    std::uint16_t row_bytes[kTiles] = {};
    std::uint8_t rows[kTiles] = {};
    std::uint8_t data[kTiles][kRows][kRowBytes] = {};
};

static inline EmulatedTiles& emulated_tiles() {
    static thread_local EmulatedTiles tiles;
    return tiles;
}

static inline void emulated_tile_require(bool right, const char* what) {
    if (right) return;
    std::fprintf(stderr, "tiles: %s\n", what);
    std::abort();
}

static inline void _tile_release() { emulated_tiles() = EmulatedTiles{}; }

static inline void _tile_loadconfig(const void* from) {
    std::uint8_t config[64];
    std::memcpy(config, from, sizeof config);
    emulated_tile_require(config[0] == 1, "palette 1 is the only one");
    EmulatedTiles& tiles = emulated_tiles();
    tiles = EmulatedTiles{};
    for (int i = 0; i < 16; ++i) {
        std::uint16_t row_bytes;
        std::memcpy(&row_bytes, config + 16 + 2 * i, 2);
        const int rows = config[48 + i];
        emulated_tile_require((row_bytes == 0) == (rows == 0), "rows without columns");
        if (i >= EmulatedTiles::kTiles) {
            emulated_tile_require(rows == 0, "there are eight tiles");
            continue;
        }
        emulated_tile_require(rows <= EmulatedTiles::kRows && row_bytes <= EmulatedTiles::kRowBytes,
                              "a tile has sixteen rows of 64 bytes");
        tiles.rows[i] = static_cast<std::uint8_t>(rows);
        tiles.row_bytes[i] = row_bytes;
    }
    tiles.configured = true;
}

static inline EmulatedTiles& emulated_tiles_with(int tile) {
    EmulatedTiles& tiles = emulated_tiles();
    emulated_tile_require(tiles.configured && tile < 8 && tiles.rows[tile] > 0, "not configured");
    return tiles;
}

static inline void _tile_zero(int tile) {
    EmulatedTiles& tiles = emulated_tiles_with(tile);
    std::memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
}

static inline void _tile_loadd(int tile, const void* from, long stride) {
    _tile_zero(tile);
    EmulatedTiles& tiles = emulated_tiles();
    for (int r = 0; r < tiles.rows[tile]; ++r)
        std::memcpy(tiles.data[tile][r], static_cast<const char*>(from) + r * stride,
                    tiles.row_bytes[tile]);
}

static inline void _tile_stored(int tile, void* to, long stride) {
    EmulatedTiles& tiles = emulated_tiles_with(tile);
    for (int r = 0; r < tiles.rows[tile]; ++r)
        std::memcpy(static_cast<char*>(to) + r * stride, tiles.data[tile][r], tiles.row_bytes[tile]);
}

// c[m][n] += sum over k, i of a[m][4k + i] * b[k][4n + i], all int8.
static inline void _tile_dpbssd(int c, int a, int b) {
    EmulatedTiles& t = emulated_tiles_with(c);
    emulated_tile_require(c != a && c != b && a != b, "three different tiles");
    emulated_tile_require(t.rows[c] == t.rows[a] && t.row_bytes[c] == t.row_bytes[b] &&
                              t.row_bytes[a] == 4 * t.rows[b] && t.rows[a] > 0,
                          "sizes that do not fit");
    for (int m = 0; m < t.rows[c]; ++m) {
        for (int n = 0; n < t.row_bytes[c] / 4; ++n) {
            std::int32_t sum;
            std::memcpy(&sum, t.data[c][m] + 4 * n, 4);
            for (int k = 0; k < t.rows[b]; ++k)
                for (int i = 0; i < 4; ++i)
                    sum += static_cast<std::int8_t>(t.data[a][m][4 * k + i]) *
                           static_cast<std::int8_t>(t.data[b][k][4 * n + i]);
            std::memcpy(t.data[c][m] + 4 * n, &sum, 4);
        }
    }
}
