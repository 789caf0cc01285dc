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

// Where the threads run: a list of processors per memory node, one thread each, pinned to its node.
// An empty list leaves the thread to the system.
struct Topology {
    std::vector<std::vector<int>> nodes;   // a thread's node; size() is the number of nodes
    std::vector<int> node_of;              // [threads]

    static Topology flat(int threads) { return {{{}}, std::vector<int>(threads, 0)}; }
};

// Work in phases, each a number of independent items. No phase begins before the last has ended.
// A node's threads take the items of its own share first, in runs that shorten towards the end, so
// that long stretches of weights are read in order and always by the same node.
class Job {
public:
    virtual ~Job() = default;

    Outcome wait();                // sleeps until the job is over
    Outcome outcome();

protected:
    virtual int phases() const = 0;
    virtual std::int64_t items(int phase) const = 0;
    virtual std::int64_t longest_run(int phase) const = 0;
    virtual void run(int phase, std::int64_t first, std::int64_t count) = 0;  // must not throw
    bool aborted() const { return *epoch_ != born_; }
    // Take another job's fate: for a job whose phases run as part of it.
    void follow(const Job& other) {
        epoch_ = other.epoch_;
        born_ = other.born_;
    }

private:
    friend class Pool;
    struct Share {
        alignas(64) std::atomic<std::int64_t> next{0};
        std::int64_t end = 0;
    };
    void open(int nodes);
    bool claim(int node, int threads, std::int64_t* first, std::int64_t* count);
    void finish(Outcome outcome);

    const std::atomic<std::uint64_t>* epoch_ = nullptr;  // the pool's; read only while it runs us
    std::uint64_t born_ = 0;
    // The pool's lock guards these, but for the counters.
    int phase_ = 0;
    int working_ = 0;
    bool open_ = false;            // the phase may have items left
    std::int64_t longest_ = 1;
    std::unique_ptr<Share[]> shares_;
    int nodes_ = 0;

    std::mutex mutex_;
    std::condition_variable over_;
    Outcome outcome_ = Outcome::pending;
};

class Pool {
public:
    explicit Pool(Topology topology);  // throws std::system_error when the system has no more threads
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    void submit(std::shared_ptr<Job> job);  // a closed pool ends the job at once as closed
    void abort();                  // every job submitted so far ends as aborted, unless it is done
    void close();                  // ends what is pending as closed, joins the threads; may be repeated
    int threads() const { return static_cast<int>(topology_.node_of.size()); }

private:
    void work(int thread);
    void await_phase(std::unique_lock<std::mutex>& lock);
    void advance();                // under the lock: opens the next phase that has items, of the
                                   // first job that has one, and ends the jobs before it

    const Topology topology_;
    std::atomic<std::uint64_t> epoch_{0};
    std::atomic<std::uint64_t> opened_{0};  // phases so far; watched for a moment before sleeping
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Job>> queue_;
    bool closing_ = false;
    std::mutex closers_;
    std::vector<std::thread> threads_;
};

}  // namespace selenograph
