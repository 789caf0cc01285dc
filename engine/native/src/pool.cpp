#include "pool.hpp"

namespace selenograph {

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

Pool::Pool(int threads) : size_(threads) {
    threads_.reserve(threads);
    try {
        for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
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

void Pool::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        wake_.wait(lock, [this] {
            return closing_ || (!queue_.empty() && queue_.front()->open_);
        });
        if (closing_) return;
        const std::shared_ptr<Job> job = queue_.front();
        const int phase = job->phase_;
        const std::int64_t items = job->items(phase);
        ++job->working_;
        lock.unlock();
        for (std::int64_t item; !job->aborted() && (item = job->next_++) < items;)
            job->run(phase, item);
        lock.lock();
        job->open_ = false;
        if (--job->working_ == 0 && !closing_) {
            ++job->phase_;
            advance();
        }
    }
}

void Pool::advance() {
    while (!queue_.empty()) {
        Job& job = *queue_.front();
        while (job.phase_ < job.phases() && job.items(job.phase_) == 0) ++job.phase_;
        const bool over = job.phase_ == job.phases();
        if (!over && !job.aborted()) {
            job.next_ = 0;
            job.open_ = true;
            wake_.notify_all();
            return;
        }
        job.finish(job.aborted() ? Outcome::aborted : Outcome::done);
        queue_.pop_front();
    }
}

}  // namespace selenograph
