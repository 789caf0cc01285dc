// Every instruction set that this program was linked with, against float64: by itself, in an expert
// of a model's size, and through the job that the engine runs. Weights end at a page that nobody may
// read; the sanitizers watch over the rest.
//
// Limits. exact: rounding of float32 sums, as in tests/parity/native. fast: 5e-3 of an expert MLP is
// what users are promised; a single product has 1.3e-3, and few numbers scatter more.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>

#include "checks.hpp"
#include "reference.hpp"

namespace selenograph::tests {
namespace {

constexpr const char* kFormatNames[kFormats] = {"int4", "int8", "bf16", "fp8", "f32"};

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
    const double limit = takes_fast(mode, format) ? 1.6e-3 : 1e-6;
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

// The same multipliers and bytes, by their sums, for magnitudes of all kinds and every tail.
void check_quantising_against_scalar(const Isa& isa) {
    Random random(7);
    std::uniform_int_distribution<int> power(-40, 12), one_in(0, 7);
    for (std::int64_t groups = 1; groups <= 13; ++groups) {
        for (int round = 0; round < 20; ++round) {
            ActivationRows want(kScalar, 1, groups * kGroup, true);
            ActivationRows got(isa, 1, groups * kGroup, true);
            int size = 0;
            for (std::int64_t c = 0; c < groups * kGroup; ++c) {
                if (c % 4 == 0) size = round % 4 == 0 ? power(random) - 90 : power(random);
                float value = std::ldexp(random_normal(random), size);
                if (one_in(random) == 0) value = 0.0f;
                if (one_in(random) == 0 && c > 0) value = -want.row(0)[c - 1];
                want.row(0)[c] = got.row(0)[c] = value;
            }
            want.quantise(0);
            got.quantise(0);
            const FastRows a = want.fast_view(), b = got.fast_view();
            require(a.scale[0] == b.scale[0] && std::equal(a.offset, a.offset + groups, b.offset),
                    std::string(isa.name) + " quantises " + std::to_string(groups) + " groups");
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
            for (const float heavy : {1.0f, 10.0f, 30.0f}) {
                const double error = layer_error(isa, mode, 2, {1, 0, 2048, 512, tokens, 1}, heavy);
                std::printf("  %.2e", error);
                const double promised = heavy > 1.0f ? 5e-3 : 3.2e-3;
                require_below(error, mode == Mode::fast ? promised : 2e-6,
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
        check_quantising_against_scalar(*isa);
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
