// Every instruction set that this program was linked with, against float64: by itself, in an expert
// of a model's size, and through the job that the engine runs. Weights end at a page that nobody may
// read; the sanitizers watch over the rest.
//
// Limits. exact: rounding of float32 sums, as in tests/parity/native. fast: 5e-3 of an expert MLP is
// what users are promised; a single product has 2.2e-3, and few numbers scatter more.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>

#include "latents.hpp"
#include "reference.hpp"

namespace selenograph::tests {
namespace {

constexpr const char* kFormatNames[kFormats] = {"int4", "int8", "bf16", "fp8", "f32"};
int failures = 0;

void require(bool right, const std::string& what) {
    if (right) return;
    ++failures;
    std::printf("FAILED: %s\n", what.c_str());
}

void require_below(double error, double limit, const std::string& what) {
    require(error < limit, what + ": error " + std::to_string(error * 1e3) + "e-3");
}

std::vector<const Isa*> all_isas() {
    return {
        &kScalar,
#ifdef SELENOGRAPH_X86
        &kAvx2, &kAvxVnni, &kAvx512, &kAvx512Vnni, &kAmxInt8,
#endif
#ifdef SELENOGRAPH_ARM
        &kNeon,
#endif
    };
}

struct Shape {
    std::int64_t rows, columns, tokens;
};

std::string describe(const Isa& isa, Mode mode, Format format, Shape s) {
    return std::string(isa.name) + (mode == Mode::fast ? " fast " : " exact ") +
           kFormatNames[static_cast<int>(format)] + " " + std::to_string(s.rows) + "x" +
           std::to_string(s.columns) + " for " + std::to_string(s.tokens);
}

// x W^T by way of dot(), the tokens in reverse order, in two parts of the rows.
std::vector<float> product(const Isa& isa, Mode mode, const Matrix& m, const std::vector<float>& x,
                           std::int64_t tokens) {
    const bool fast = takes_fast(mode, m.format);
    ActivationRows rows(isa, tokens, m.columns, fast);
    std::vector<std::int64_t> order(tokens);
    for (std::int64_t t = 0; t < tokens; ++t) {
        std::memcpy(rows.row(t), x.data() + (tokens - 1 - t) * m.columns, m.columns * 4);
        if (fast) rows.quantise(t);
        order[t] = tokens - 1 - t;
    }
    std::vector<float> y(tokens * m.rows);
    const std::int64_t first = std::min<std::int64_t>(m.rows / 3, kDotRows);
    for (std::int64_t r = 0; r < m.rows;) {
        const std::int64_t count = r == 0 && first > 0 ? first : std::min(kDotRows, m.rows - r);
        dot(isa, m, r, count, rows, fast, order.data(), tokens, y.data() + r, m.rows);
        r += count;
    }
    return y;
}

std::vector<float> random_rows(Random& random, std::int64_t rows, std::int64_t columns) {
    std::vector<float> x(rows * columns);
    for (float& value : x) value = random_normal(random);
    return x;
}

void check_product(const Isa& isa, Random& random, Mode mode, Format format, Shape s) {
    const RandomMatrix m(random, format, s.rows, s.columns);
    const auto x = random_rows(random, s.tokens, s.columns);
    const auto y = product(isa, mode, m.matrix, x, s.tokens);
    Error error;
    for (std::int64_t t = 0; t < s.tokens; ++t) {
        const std::vector<double> wide(x.begin() + t * s.columns, x.begin() + (t + 1) * s.columns);
        const auto want = m.times(wide.data());
        for (std::int64_t r = 0; r < s.rows; ++r) error.add(y[t * s.rows + r], want[r]);
    }
    // Small products scatter, and what cancels has no size to be relative to.
    const double limit = takes_fast(mode, format) ? 3e-3 : 1e-6;
    const double few = s.rows * s.tokens * s.columns < 20000 ? 6.0 : 1.2;
    require_below(error.relative(), limit * few, describe(isa, mode, format, s));
    if (takes_fast(mode, format) && s.tokens > 0)
        require(error.relative() > 1e-5, describe(isa, mode, format, s) + ": was not quantised");
}

void check_products(const Isa& isa) {
    Random random(1);
    for (const Format format : {Format::int4, Format::int8, Format::bf16, Format::fp8,
                                Format::f32}) {
        for (const Mode mode : {Mode::exact, Mode::fast}) {
            for (const Shape s : {Shape{1, 32, 1}, {3, 64, 0}, {1, 32, 17}, {31, 96, 3}, {33, 160, 5},
                                  {16, 544, 16}, {17, 992, 7}, {70, 288, 33}, {257, 1056, 2},
                                  {48, 480, 6}, {130, 96, 140}, {5, 7168, 4}, {40, 7168, 9}, {64, 3616, 4}})
                check_product(isa, random, mode, format, s);
        }
    }
    for (const std::int64_t columns : {1, 31, 130, 300})   // only these take odd numbers of columns
        for (const Format format : {Format::bf16, Format::fp8, Format::f32})
            check_product(isa, random, Mode::exact, format, {7, columns, 3});
    for (std::int64_t groups = 1; groups <= 40; ++groups)  // every tail
        for (const std::int64_t tokens : {1, 2, 3, 4, 5, 8, 12, 20, 26})
            check_product(isa, random, Mode::fast, Format::int4, {37, groups * kGroup, tokens});
}

// The same integers, and sums of floats in another order. AMX has activations of its own for panels.
void check_against_scalar(const Isa& isa) {
    Random random(2);
    const RandomMatrix m(random, Format::int4, 96, 1440);
    const bool own_panel = isa.group_bytes != kScalar.group_bytes;
    for (const std::int64_t tokens : {1, 4, 11}) {
        const auto x = random_rows(random, tokens, 1440);
        for (const Mode mode : {Mode::exact, Mode::fast}) {
            if (own_panel && mode == Mode::fast && tokens > kTokenTile) continue;
            const auto want = product(kScalar, mode, m.matrix, x, tokens);
            const auto got = product(isa, mode, m.matrix, x, tokens);
            Error error;
            for (std::size_t i = 0; i < want.size(); ++i) error.add(got[i], want[i]);
            require_below(error.relative(), 1e-6, std::string(isa.name) + " against scalar");
        }
    }
}

// Rows that are not finite say so, and say it only for themselves; zeros stay zeros.
void check_special_rows(const Isa& isa) {
    Random random(3);
    const RandomMatrix m(random, Format::int4, 40, 320);
    for (const std::int64_t tokens : {4, 20}) {
        auto x = random_rows(random, tokens, 320);
        x[5] = NAN;
        x[320 + 319] = INFINITY;
        std::fill(x.begin() + 640, x.begin() + 960, 0.0f);
        std::fill(x.begin() + 960, x.begin() + 992, 0.0f);  // one group only
        const auto y = product(isa, Mode::fast, m.matrix, x, tokens);
        for (std::int64_t r = 0; r < 40; ++r) {
            require(std::isnan(y[r]) && std::isnan(y[40 + r]), "a row that is not finite");
            require(y[80 + r] == 0.0f, "a row of zeros");
            for (std::int64_t t = 3; t < tokens; ++t)
                require(std::isfinite(y[t * 40 + r]), "a row beside one that is not finite");
        }
    }
}

void check_silu(const Isa& isa) {
    for (const std::int64_t count : {1, 7, 16, 33, 200}) {
        std::vector<float> gate(count), up(count), out(count);
        for (std::int64_t i = 0; i < count; ++i) {
            gate[i] = static_cast<float>(i * i) * 0.05f - 100.0f + static_cast<float>(i);
            up[i] = 1.5f - static_cast<float>(i % 3);
        }
        isa.silu_multiply(gate.data(), up.data(), count, out.data());
        for (std::int64_t i = 0; i < count; ++i) {
            const double want = gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i];
            require(std::fabs(out[i] - want) <= 1e-6 * std::fabs(want) + 1e-30,
                    std::string(isa.name) + " silu of " + std::to_string(gate[i]));
        }
    }
}

// Latents in two pages that lie in reverse order at the end of memory, as they are stored.
struct RandomLatents {
    std::unique_ptr<Guarded> data;
    std::vector<double> values;    // [count, rank + rope], after rounding
    LatentPart part;

    RandomLatents(Random& random, LatentForm form, std::int64_t rank, std::int64_t rope,
                  std::int64_t count)
        : values(count * (rank + rope)) {
        const std::int64_t row_bytes = latent_row_bytes(form, rank, rope), width = rank + rope;
        const auto pages = static_cast<std::int32_t>((count + kPageTokens - 1) / kPageTokens);
        data = std::make_unique<Guarded>(pages * kPageTokens * row_bytes);
        std::memset(data->get(), 0xff, data->size());      // no numbers where nothing was stored
        part = {data->get(), {}, kPageTokens * row_bytes, 0, row_bytes, form, 0, 1, count - 1};
        for (std::int32_t p = 0; p < pages; ++p) part.pages.push_back(pages - 1 - p);
        for (std::int64_t l = 0; l < count; ++l) {
            std::vector<float> latent(width);
            for (float& value : latent) value = random_normal(random);
            store_latent(form, latent.data(), rank, rope, part.row(0, l));
            for (std::int64_t c = 0; c < width; ++c)
                values[l * width + c] = stored(form, part.row(0, l), c, rank, rope);
            for (std::int64_t c = 0; c < width; ++c) {
                const double step = form == LatentForm::f32 ? 0 : form == LatentForm::bf16 || c >= rank
                                        ? std::fabs(latent[c]) / 256 : 5.0 / 254;
                require(std::fabs(values[l * width + c] - latent[c]) <= step * 1.001, "a stored latent");
            }
        }
    }

    static double stored(LatentForm form, const std::uint8_t* row, std::int64_t column,
                         std::int64_t rank, std::int64_t rope) {
        if (form == LatentForm::f32) return load_float(row + 4 * column);
        if (form == LatentForm::bf16) return load_bf16(row + 2 * column);
        if (column >= rank) return load_bf16(row + rank + 2 * (column - rank));
        return static_cast<std::int8_t>(row[column]) *
               static_cast<double>(load_float(row + rank + 2 * rope + column / kLatentGroup * 4));
    }
};

// Queries of `tokens` tokens, the last of a sequence of `count`, beside softmax in float64: by the
// kernel over two stretches, and by the job over as many as it likes.
void check_attention(const Isa& isa, LatentForm form, LatentHeads heads, std::int64_t count,
                     std::int64_t tokens) {
    Random random(4);
    const std::int64_t width = heads.width(), rows = tokens * heads.heads;
    RandomLatents latents(random, form, heads.rank, heads.rope, count);
    const RandomMatrix query(random, Format::f32, rows, width);
    const auto* asked = reinterpret_cast<const float*>(query.matrix.data);
    std::vector<double> want(rows * heads.rank);
    for (std::int64_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (std::int64_t l = 0; l <= count - tokens + r / heads.heads; ++l) {
            double score = 0;
            for (std::int64_t c = 0; c < width; ++c)
                score += query.values[r * width + c] * latents.values[l * width + c];
            const double share = std::exp(score * heads.scale);
            sum += share;
            for (std::int64_t c = 0; c < heads.rank; ++c)
                want[r * heads.rank + c] += share * latents.values[l * width + c];
        }
        for (std::int64_t c = 0; c < heads.rank; ++c) want[r * heads.rank + c] /= sum;
    }
    const auto check = [&](const auto& got, const char* what) {
        Error error;
        for (std::int64_t i = 0; i < rows * heads.rank; ++i) error.add(got[i], want[i]);
        require_below(error.relative(), 1e-5,
                      std::string(isa.name) + what + std::to_string(rows) + " queries over " +
                          std::to_string(count) + " of " + std::to_string(width));
    };
    latents.part.past = count - tokens;
    latents.part.count = tokens;
    const auto job = std::make_shared<LatentJob>(isa, heads, std::vector<LatentPart>{latents.part}, 0,
                                                 asked, 3);
    Pool pool(Topology::flat(2));
    pool.submit(job);
    require(job->wait() == Outcome::done, "a job of attention");
    check(job->output(), " job of ");

    std::vector<float> most(rows), total(rows), context(rows * heads.rank), sum(rows * heads.rank);
    std::vector<float> memory(latent_scratch(rows, heads.rank, heads.rope) + 16, NAN);
    auto* scratch = reinterpret_cast<float*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
    std::vector<float> all(rows), high(rows, kLeast);
    const LatentPages pages = latents.part.layer(0);
    const std::int64_t border = count / 3;
    for (const auto& [at, end] : {std::pair{std::int64_t{0}, border}, std::pair{border, count}}) {
        LatentQueries queries{asked, rows, heads.rank, heads.rope, count - tokens + 1, heads.heads,
                              at, end, heads.scale, most.data(), total.data(), context.data()};
        isa.attend(pages, queries, scratch);
        for (std::int64_t r = 0; r < rows; ++r) {
            const float top = std::max(high[r], most[r]);
            const float fade = std::exp(high[r] - top), share = std::exp(most[r] - top);
            all[r] = all[r] * fade + total[r] * share;
            for (std::int64_t c = 0; c < heads.rank; ++c) {
                float& s = sum[r * heads.rank + c];
                s = s * fade + context[r * heads.rank + c] * share;
            }
            high[r] = top;
        }
    }
    for (std::int64_t i = 0; i < rows * heads.rank; ++i) sum[i] /= all[i / heads.rank];
    check(sum, " kernel for ");
}

// What comes of the last of `heads` queries, which has a value that is no number.
float nan_of_latents(const Isa& isa, std::int64_t heads) {
    Random random(7);
    RandomLatents latents(random, LatentForm::bf16, 32, 8, 50);
    auto query = random_rows(random, heads, 40);
    query.back() = NAN;
    LatentJob job(isa, {heads, 32, 8, 0.3f}, {latents.part}, 0, query.data(), 1);
    const std::shared_ptr<Job> shared(&job, [](Job*) {});
    Pool pool(Topology::flat(1));
    pool.submit(shared);
    shared->wait();
    const float* out = job.output();
    for (std::int64_t i = 0; i < (heads - 1) * 32; ++i) require(std::isfinite(out[i]), "its neighbours");
    return out[heads * 32 - 1];
}

void check_attentions(const Isa& isa) {
    for (const LatentForm form : {LatentForm::f32, LatentForm::bf16, LatentForm::int8}) {
        check_attention(isa, form, {1, 16, 4, 0.4f}, 1, 1);
        check_attention(isa, form, {3, 52, 7, 0.3f}, 65, 1);
        check_attention(isa, form, {4, 96, 16, 0.3f}, 127, 1);
        check_attention(isa, form, {2, 100, 14, 0.3f}, 64, 2);
        check_attention(isa, form, {4, 512, 64, 0.1f}, 70, 1);
        check_attention(isa, form, {1, 192, 72, 0.2f}, 33, 3);
        check_attention(isa, form, {1, 33, 6, 0.3f}, 40, 3);
        check_attention(isa, form, {5, 52, 7, 0.3f}, 63, 1);
        check_attention(isa, form, {7, 72, 10, 0.3f}, 129, 9);
        check_attention(isa, form, {6, 512, 64, 0.1f}, 70, 4);
    }
    require(std::isnan(nan_of_latents(isa, 3)) && std::isnan(nan_of_latents(isa, 8)),
            std::string(isa.name) + " attention of a query that is not finite");
}

// A head's last queries over all positions, in two blocks, beside softmax in float64. Two heads lie side
// by side, the second is asked for.
void check_prefill(const Isa& isa, std::int64_t nope, std::int64_t rope, std::int64_t value,
                   std::int64_t past, std::int64_t queries) {
    Random random(6);
    const std::int64_t width = nope + rope, pair = nope + value, count = past + queries;
    const RandomMatrix up(random, Format::f32, count, 2 * pair);
    const RandomMatrix rotary(random, Format::f32, count, rope);
    const RandomMatrix query(random, Format::f32, queries, 2 * width);
    const float scale = 20.0f;
    const auto floats = [](const RandomMatrix& m) { return reinterpret_cast<const float*>(m.matrix.data); };
    std::vector<float> most(queries), total(queries), out(queries * value);
    std::vector<float> memory(flash_scratch(queries, width, value) + 16, NAN);
    auto* scratch = reinterpret_cast<float*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
    const std::int64_t border = count > 1 ? count * 2 / 3 : count;
    for (std::int64_t at = 0; at < count; at = at == 0 ? border : count) {
        AttentionBlock block;
        block.query = floats(query) + width;
        block.query_stride = 2 * width;
        block.queries = queries;
        block.key = floats(up) + at * 2 * pair + pair;
        block.values = block.key + nope;
        block.key_stride = 2 * pair;
        block.rotary = floats(rotary) + at * rope;
        block.rotary_stride = rope;
        block.count = at == 0 ? border : count - border;
        block.nope = nope;
        block.rope = rope;
        block.value = value;
        block.seen = past + 1 - at;
        block.first = at == 0;
        block.last = at + block.count == count;
        block.scale = scale;
        block.most = most.data();
        block.total = total.data();
        block.out = out.data();
        block.out_stride = value;
        isa.attend_block(block, scratch);
    }
    Error error;
    for (std::int64_t q = 0; q < queries; ++q) {
        std::vector<double> shares(past + q + 1), want(value);
        double sum = 0;
        for (std::size_t l = 0; l < shares.size(); ++l) {
            const double* key = &up.values[l * 2 * pair + pair];
            const double* asked = &query.values[q * 2 * width + width];
            double score = 0;
            for (std::int64_t c = 0; c < width; ++c)
                score += asked[c] * (c < nope ? key[c] : rotary.values[l * rope + c - nope]);
            sum += shares[l] = std::exp(score * scale);
            for (std::int64_t v = 0; v < value; ++v) want[v] += shares[l] * key[nope + v];
        }
        for (std::int64_t v = 0; v < value; ++v) error.add(out[q * value + v], want[v] / sum);
    }
    require_below(error.relative(), 1e-5, std::string(isa.name) + " prefill of " + std::to_string(queries) +
                                              " after " + std::to_string(past));
}

void check_prefills(const Isa& isa) {
    check_prefill(isa, 8, 4, 8, 0, 1);
    check_prefill(isa, 20, 6, 13, 0, 60);
    check_prefill(isa, 20, 6, 40, 150, 9);
    check_prefill(isa, 128, 64, 128, 65, 33);
}

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

struct RandomExpert {
    RandomMatrix gate, up, down;
    RandomExpert(Random& random, Format format, std::int64_t hidden, std::int64_t inter)
        : gate(random, format, inter, hidden),
          up(random, format, inter, hidden),
          down(random, format, hidden, inter) {}
    Expert expert() const { return {gate.matrix, up.matrix, down.matrix}; }

    void add(const double* x, double weight, double* y) const {
        auto inner = gate.times(x);
        const auto rise = up.times(x);
        for (std::size_t i = 0; i < inner.size(); ++i)
            inner[i] = inner[i] / (1 + std::exp(-inner[i])) * rise[i];
        const auto out = down.times(inner.data());
        for (std::size_t i = 0; i < out.size(); ++i) y[i] += weight * out[i];
    }
};

struct LayerShape {
    std::int64_t experts, shared, hidden, inter, tokens, top_k;
};

// A forward through the pool. One channel in a hundred is `heavy` times larger.
double layer_error(const Isa& isa, Mode mode, int threads, LayerShape s, float heavy) {
    Random random(s.hidden * 31 + s.tokens);
    std::vector<std::unique_ptr<RandomExpert>> experts;
    auto layer = std::make_shared<Layer>();
    layer->hidden = s.hidden;
    for (std::int64_t e = 0; e < s.experts + s.shared; ++e) {
        const Format format = e < s.experts ? Format::int4 : static_cast<Format>(e % kFormats);
        experts.push_back(std::make_unique<RandomExpert>(random, format, s.hidden, s.inter));
        (e < s.experts ? layer->experts : layer->shared).push_back(experts.back()->expert());
    }
    auto x = random_rows(random, s.tokens, s.hidden);
    for (std::int64_t i = 0; i < s.tokens * s.hidden; i += 97) x[i] *= heavy;
    std::vector<std::int32_t> ids(s.tokens * s.top_k), any(s.experts);
    std::vector<float> weights(ids.size());
    std::iota(any.begin(), any.end(), 0);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
        std::shuffle(any.begin(), any.end(), random);
        for (std::int64_t k = 0; k < s.top_k; ++k) {
            ids[t * s.top_k + k] = any[k];
            weights[t * s.top_k + k] = 0.2f + 0.1f * static_cast<float>(k);
        }
    }
    const auto job = std::make_shared<ForwardJob>(isa, mode, layer, s.tokens, s.top_k, ids.data(),
                                                  weights.data());
    for (std::int64_t t = 0; t < s.tokens; ++t)
        std::memcpy(job->input(t), x.data() + t * s.hidden, s.hidden * 4);
    Pool pool(Topology::flat(threads));
    pool.submit(job);
    require(job->wait() == Outcome::done, "a job is done");
    Error error;
    for (std::int64_t t = 0; t < s.tokens; ++t) {
        const std::vector<double> wide(x.begin() + t * s.hidden, x.begin() + (t + 1) * s.hidden);
        std::vector<double> want(s.hidden);
        for (std::int64_t k = 0; k < s.top_k; ++k)
            experts[ids[t * s.top_k + k]]->add(wide.data(), weights[t * s.top_k + k], want.data());
        for (std::int64_t e = 0; e < s.shared; ++e)
            experts[s.experts + e]->add(wide.data(), 1.0, want.data());
        for (std::int64_t h = 0; h < s.hidden; ++h)
            error.add(job->output()[t * s.hidden + h], want[h]);
    }
    return error.relative();
}

void check_layers(const Isa& isa) {
    for (const Mode mode : {Mode::exact, Mode::fast}) {
        const double limit = mode == Mode::fast ? 1.5e-2 : 6e-6;   // small ones scatter
        for (const LayerShape s : {LayerShape{1, 0, 32, 32, 1, 1}, {16, 0, 64, 32, 3, 16},
                                   {4, 0, 96, 160, 0, 2}, {3, 2, 288, 96, 7, 0},
                                   {5, 1, 352, 224, 40, 3}, {2, 3, 160, 544, 9, 2}})
            for (const int threads : {1, 3})
                require_below(layer_error(isa, mode, threads, s, 1.0f), limit,
                              std::string(isa.name) + " layer of hidden " + std::to_string(s.hidden));
    }
}

void check_accuracy(const Isa& isa) {
    std::printf("%-12s", isa.name);
    for (const Mode mode : {Mode::exact, Mode::fast}) {
        for (const std::int64_t tokens : {4, 12}) {
            for (const float heavy : {1.0f, 10.0f}) {
                const double error = layer_error(isa, mode, 2, {1, 0, 2048, 512, tokens, 1}, heavy);
                std::printf("  %.2e", error);
                require_below(error, mode == Mode::fast ? 5e-3 : 2e-6,
                              std::string(isa.name) + " expert MLP, tails of " + std::to_string(heavy));
            }
        }
    }
    std::printf("\n");
}

int run(int count, char** names) {
    std::printf("relative error of an expert MLP: exact, then fast; 4 tokens, then 12; each Gaussian, "
                "then with heavy tails\n");
    int seen = 0;
    for (const Isa* isa : all_isas()) {
        const bool wanted = count == 0 || std::count(names, names + count, std::string(isa->name)) > 0;
        if (!wanted) continue;
        ++seen;
        check_products(*isa);
        check_against_scalar(*isa);
        check_special_rows(*isa);
        check_silu(*isa);
        check_attentions(*isa);
        check_prefills(*isa);
        check_packing(*isa);
        check_packing_against_scalar(*isa);
        check_layers(*isa);
        check_accuracy(*isa);
        std::fflush(stdout);
    }
    if (seen == 0) {
        std::printf("no such instruction set here\n");
        return 2;
    }
    std::printf(failures == 0 ? "all right\n" : "%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace selenograph::tests

// Arguments: instruction sets; all without.
int main(int count, char** arguments) {
    return selenograph::tests::run(count - 1, arguments + 1);
}
