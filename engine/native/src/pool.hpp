// Threads that work through jobs in order, all on one job at a time, and sleep between.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace selenograph {

enum class Outcome { pending, done, aborted, closed };

// Work in phases, each a number of independent items. No phase begins before the last has ended.
class Job {
public:
    virtual ~Job() = default;

    Outcome wait();                // sleeps until the job is over
    Outcome outcome();

protected:
    virtual int phases() const = 0;
    virtual std::int64_t items(int phase) const = 0;
    virtual void run(int phase, std::int64_t item) = 0;  // must not throw
    bool aborted() const { return *epoch_ != born_; }

private:
    friend class Pool;
    void finish(Outcome outcome);

    const std::atomic<std::uint64_t>* epoch_ = nullptr;  // the pool's; read only while it runs us
    std::uint64_t born_ = 0;
    // The pool's lock guards these, but for the counter.
    int phase_ = 0;
    int working_ = 0;
    bool open_ = false;            // the phase may have items left
    std::atomic<std::int64_t> next_{0};

    std::mutex mutex_;
    std::condition_variable over_;
    Outcome outcome_ = Outcome::pending;
};

class Pool {
public:
    explicit Pool(int threads);    // throws std::system_error when the system has no more
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    void submit(std::shared_ptr<Job> job);  // a closed pool ends the job at once as closed
    void abort();                  // every job submitted so far ends as aborted, unless it is done
    void close();                  // ends what is pending as closed, joins the threads; may be repeated
    int threads() const { return size_; }

private:
    void work();
    void advance();                // under the lock: opens the next phase that has items, of the
                                   // first job that has one, and ends the jobs before it

    const int size_;
    std::atomic<std::uint64_t> epoch_{0};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Job>> queue_;
    bool closing_ = false;
    std::mutex closers_;
    std::vector<std::thread> threads_;
};

}  // namespace selenograph
