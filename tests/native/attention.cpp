// Attention over latents as they are stored, and of a prompt's heads, beside softmax in float64.
#include <algorithm>
#include <string>

#include "checks.hpp"
#include "latents.hpp"
#include "reference.hpp"

namespace selenograph::tests {
namespace {

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

}  // namespace

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

namespace {

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

}  // namespace

void check_prefills(const Isa& isa) {
    check_prefill(isa, 8, 4, 8, 0, 1);
    check_prefill(isa, 20, 6, 13, 0, 60);
    check_prefill(isa, 20, 6, 40, 150, 9);
    check_prefill(isa, 128, 64, 128, 65, 33);
}

}  // namespace selenograph::tests
