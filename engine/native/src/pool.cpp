#include "pool.hpp"

#include <algorithm>
#include <chrono>

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace selenograph {
namespace {

// Within a job the next phase opens as soon as the slowest thread is done: that is worth a short
// look before the sleep, whose wake-up costs more.
constexpr std::chrono::microseconds kWatch{50};

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// A processor that is not there is no reason to fail: the thread stays where the system puts it.
void pin(const std::vector<int>& processors) {
#ifdef __linux__
    if (processors.empty()) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int p : processors)
        if (p >= 0 && p < CPU_SETSIZE) CPU_SET(p, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
#else
    (void)processors;
#endif
}

}  // namespace

Outcome Job::wait() {
    std::unique_lock lock(mutex_);
    over_.wait(lock, [this] { return outcome_ != Outcome::pending; });
    return outcome_;
}

Outcome Job::outcome() {
    std::lock_guard lock(mutex_);
    return outcome_;
}

void Job::finish(Outcome outcome) {
    std::lock_guard lock(mutex_);
    outcome_ = outcome;
    over_.notify_all();
}

void Job::open(int nodes) {
    if (!shares_) shares_ = std::make_unique<Share[]>(nodes_ = nodes);
    const std::int64_t all = items(phase_);
    longest_ = std::max<std::int64_t>(1, longest_run(phase_));
    for (int n = 0; n < nodes_; ++n) {
        shares_[n].next = all * n / nodes_;
        shares_[n].end = all * (n + 1) / nodes_;
    }
    open_ = true;
}

bool Job::claim(int node, int threads, std::int64_t* first, std::int64_t* count) {
    for (int i = 0; i < nodes_; ++i) {
        Share& share = shares_[(node + i) % nodes_];
        std::int64_t at = share.next.load(std::memory_order_relaxed);
        while (at < share.end) {
            const std::int64_t fair = (share.end - at) / (2 * threads);
            const std::int64_t take = std::clamp<std::int64_t>(fair, 1, longest_);
            if (share.next.compare_exchange_weak(at, at + take, std::memory_order_relaxed)) {
                *first = at;
                *count = std::min(take, share.end - at);
                return true;
            }
        }
    }
    return false;
}

Pool::Pool(Topology topology) : topology_(std::move(topology)) {
    threads_.reserve(threads());
    try {
        for (int i = 0; i < threads(); ++i) threads_.emplace_back([this, i] { work(i); });
    } catch (...) {
        close();
        throw;
    }
}

Pool::~Pool() { close(); }

void Pool::submit(std::shared_ptr<Job> job) {
    std::lock_guard lock(mutex_);
    if (closing_) return job->finish(Outcome::closed);
    job->epoch_ = &epoch_;
    job->born_ = epoch_;
    queue_.push_back(std::move(job));
    if (queue_.size() == 1) advance();
}

void Pool::abort() { ++epoch_; }

void Pool::close() {
    std::lock_guard one_at_a_time(closers_);
    {
        std::lock_guard lock(mutex_);
        closing_ = true;
        ++epoch_;  // the job at work leaves off at its next check
        wake_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    std::lock_guard lock(mutex_);
    while (!queue_.empty()) {
        queue_.front()->finish(Outcome::closed);
        queue_.pop_front();
    }
}

void Pool::work(int thread) {
    const int node = topology_.node_of[thread];
    pin(topology_.nodes[node]);
    std::unique_lock lock(mutex_);
    while (true) {
        await_phase(lock);
        if (closing_) return;
        const std::shared_ptr<Job> job = queue_.front();
        const int phase = job->phase_;
        ++job->working_;
        lock.unlock();
        std::int64_t first, count;
        while (!job->aborted() && job->claim(node, threads(), &first, &count))
            job->run(phase, first, count);
        lock.lock();
        job->open_ = false;
        if (--job->working_ == 0 && !closing_) {
            ++job->phase_;
            advance();
        }
    }
}

void Pool::await_phase(std::unique_lock<std::mutex>& lock) {
    const auto ready = [this] { return closing_ || (!queue_.empty() && queue_.front()->open_); };
    if (!ready() && !queue_.empty()) {
        const std::uint64_t seen = opened_;
        lock.unlock();
        const auto end = std::chrono::steady_clock::now() + kWatch;
        while (opened_ == seen && std::chrono::steady_clock::now() < end) pause();
        lock.lock();
    }
    wake_.wait(lock, ready);
}

void Pool::advance() {
    while (!queue_.empty()) {
        Job& job = *queue_.front();
        while (job.phase_ < job.phases() && job.items(job.phase_) == 0) ++job.phase_;
        const bool over = job.phase_ == job.phases();
        if (!over && !job.aborted()) {
            job.open(static_cast<int>(topology_.nodes.size()));
            ++opened_;
            wake_.notify_all();
            return;
        }
        job.finish(job.aborted() ? Outcome::aborted : Outcome::done);
        queue_.pop_front();
    }
}

}  // namespace selenograph
