#include "probe.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace selenograph {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The times of rounds in which every thread runs `work` once, all starting together; sorted.
std::vector<double> rounds(int threads, double seconds, const std::function<void(int)>& work) {
    const auto begin = Clock::now();
    std::vector<double> times;
    do {
        std::atomic<int> waiting{threads};
        std::vector<std::thread> pool;
        std::vector<Clock::time_point> started(threads), ended(threads);
        for (int t = 0; t < threads; ++t)
            pool.emplace_back([&, t] {
                --waiting;
                while (waiting > 0) std::this_thread::yield();
                started[t] = Clock::now();
                work(t);
                ended[t] = Clock::now();
            });
        for (std::thread& thread : pool) thread.join();
        const auto first = *std::min_element(started.begin(), started.end());
        const auto last = *std::max_element(ended.begin(), ended.end());
        times.push_back(std::chrono::duration<double>(last - first).count());
    } while (seconds_since(begin) < seconds);
    std::sort(times.begin(), times.end());
    return times;
}

// Wide enough for the compiler to use the vectors it may; sums keep every load alive.
std::uint64_t read_all(const std::uint64_t* words, std::int64_t count) {
    std::uint64_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    for (std::int64_t i = 0; i + 8 <= count; i += 8) {
        a += words[i], b += words[i + 1], c += words[i + 2], d += words[i + 3];
        e += words[i + 4], f += words[i + 5], g += words[i + 6], h += words[i + 7];
    }
    return a + b + c + d + e + f + g + h;
}

// Two operations for each multiply-add of `loop`.
double peak(DotLoop loop, int threads, double seconds) {
    constexpr std::int64_t kRounds = 1'000'000;
    std::atomic<std::int64_t> done{0};
    const auto times = rounds(threads, seconds, [&](int) { done = loop(kRounds); });
    return 2.0 * static_cast<double>(done) * threads / times.front();
}

}  // namespace

double read_bandwidth(int threads, std::int64_t bytes, double seconds, bool typical) {
    const std::int64_t part = bytes / 8 / threads / 8 * 8;
    const std::unique_ptr<std::uint64_t[]> words(new std::uint64_t[part * threads]);
    // Filled by as many threads as read it: on a machine of several memory nodes the first touch
    // places a page.
    rounds(threads, 0.0, [&](int t) {
        std::fill_n(words.get() + part * t, part, 0x5a5a5a5a5a5a5a5aULL);
    });
    std::atomic<std::uint64_t> sink{0};
    const auto times = rounds(threads, seconds, [&](int t) {
        sink += read_all(words.get() + part * t, part);
    });
    const double time = typical ? times[times.size() / 2] : times.front();
    return static_cast<double>(part * threads * 8) / time;
}

double dot_peak(const Isa& isa, int threads, double seconds) {
    return peak(isa.dot_loop, threads, seconds);
}

double fma_peak(const Isa& isa, int threads, double seconds) {
    return peak(isa.fma_loop, threads, seconds);
}

}  // namespace selenograph
