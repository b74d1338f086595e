#include "server/loop/commit_loop.h"

#include <pthread.h>

#include <cstdlib>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/log.h"

namespace quantmoe {
namespace {

// The real clock: ticks must come when a test's clock stands still.
absl::Duration Now() { return Clock::Real().Monotonic(); }

}  // namespace

void CommitLoop::Start(Hooks hooks, absl::Duration tick_interval) {
  hooks_ = std::move(hooks);
  tick_interval_ = tick_interval;
  thread_ = std::thread([this] { Run(); });
}

void CommitLoop::Stop() {
  {
    NotifyingLock lock(&mutex_, &posted_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void CommitLoop::Post(std::function<void()> operation) {
  NotifyingLock lock(&mutex_, &posted_);
  if (!stopping_) queue_.push_back(std::move(operation));
}

bool CommitLoop::Offer(std::function<void()> operation) {
  NotifyingLock lock(&mutex_, &posted_);
  if (!stopping_ && queue_.size() >= kMaxQueued) return false;
  if (!stopping_) queue_.push_back(std::move(operation));
  return true;
}

void CommitLoop::AfterCommit(std::function<void(const absl::Status&)> effect) {
  effects_.push_back(std::move(effect));
}

void CommitLoop::Run() {
  pthread_setname_np(pthread_self(), "commit-loop");
  const LoopScope on_loop;
  absl::Duration next_tick = Now();
  while (true) {
    std::vector<std::function<void()>> operations = Take(kMaxBatch, next_tick);
    if (Now() >= next_tick) {
      operations.push_back(hooks_.tick);
      next_tick = Now() + tick_interval_;
    }
    if (!operations.empty()) RunBatch(operations);
    absl::MutexLock lock(&mutex_);
    if (stopping_ && queue_.empty()) return;
  }
}

std::vector<std::function<void()>> CommitLoop::Take(size_t limit, absl::Duration deadline) {
  absl::MutexLock lock(&mutex_);
  posted_.AwaitFor(mutex_, deadline - Now(),
                   [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return HasWorkLocked(); });
  std::vector<std::function<void()>> operations;
  while (!queue_.empty() && operations.size() < limit) {
    operations.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return operations;
}

void CommitLoop::RunBatch(const std::vector<std::function<void()>>& first) {
  const absl::Duration linger_until = Now() + kMaxLinger;
  size_t count = first.size();
  RunOperations(first);
  // A commit costs a disk sync: let others share it.
  while (facts_.dirty() && count < kMaxBatch) {
    const std::vector<std::function<void()>> others = Take(kMaxBatch - count, linger_until);
    if (others.empty()) break;
    count += others.size();
    RunOperations(others);
  }
  hooks_.before_commit();
  CommitBatch();
}

void CommitLoop::RunOperations(const std::vector<std::function<void()>>& operations) {
  for (const auto& operation : operations) operation();
  hooks_.after_operations();
}

void CommitLoop::CommitBatch() {
  absl::Status status;
  if (facts_.dirty()) {
    const std::vector<Change> changes = facts_.TakeChanges();
    const absl::Duration start = Now();
    status = store_.Commit(changes);
    metrics_.StoreCommitted(Now() - start, changes.size(), status.ok());
  }
  std::vector<std::function<void(const absl::Status&)>> effects = std::exchange(effects_, {});
  const std::set<std::string> news = facts_.TakeNews();
  if (!status.ok()) {
    Recover(status);
    status = MakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", status.message());
  }
  CrashPoint("before-reply");
  for (const auto& effect : effects) effect(status);
  if (status.ok() && !news.empty()) hooks_.news(news);
}

void CommitLoop::Recover(const absl::Status& failure) {
  // Facts that differ from the store must not be served.
  if (GetErrorInfo(failure).reason == "STALE_TERM") {
    Log(LogLevel::kError, "another coordinator has taken over; the process ends",
        {{"error", failure.message()}});
    std::_Exit(kExitDeposed);
  }
  Log(LogLevel::kError, "state store refused a commit; facts are read again",
      {{"error", failure.ToString()}});
  if (const absl::Status reload = facts_.Reload(); !reload.ok()) {
    Log(LogLevel::kError, "state store cannot be read; the process ends", {{"error", reload.ToString()}});
    std::_Exit(kExitStoreLost);
  }
  hooks_.after_reload();
}

}  // namespace quantmoe
