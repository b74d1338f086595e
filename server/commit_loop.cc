#include "server/commit_loop.h"

#include <pthread.h>

#include <cstdlib>

#include "absl/time/clock.h"

#include "base/crash_point.h"
#include "base/error_info.h"
#include "base/log.h"

namespace quantmoe {

void CommitLoop::Start(Hooks hooks, absl::Duration tick_interval) {
  hooks_ = std::move(hooks);
  tick_interval_ = tick_interval;
  thread_ = std::thread([this] { Run(); });
}

void CommitLoop::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void CommitLoop::Post(std::function<void()> operation) {
  absl::MutexLock lock(&mutex_);
  if (!stopping_) queue_.push_back(std::move(operation));
}

bool CommitLoop::Offer(std::function<void()> operation) {
  absl::MutexLock lock(&mutex_);
  if (!stopping_ && queue_.size() >= kMaxQueued) return false;
  if (!stopping_) queue_.push_back(std::move(operation));
  return true;
}

void CommitLoop::AfterCommit(std::function<void(const absl::Status&)> effect) {
  effects_.push_back(std::move(effect));
}

void CommitLoop::Run() {
  pthread_setname_np(pthread_self(), "commit-loop");
  absl::Time next_tick = absl::Now();
  while (true) {
    std::vector<std::function<void()>> operations = Take(kMaxBatch, next_tick);
    if (absl::Now() >= next_tick) {
      operations.push_back(hooks_.tick);
      next_tick = absl::Now() + tick_interval_;
    }
    if (!operations.empty()) RunBatch(std::move(operations));
    absl::MutexLock lock(&mutex_);
    if (stopping_ && queue_.empty()) return;
  }
}

std::vector<std::function<void()>> CommitLoop::Take(size_t limit, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithDeadline(absl::Condition(this, &CommitLoop::HasWorkLocked), deadline);
  std::vector<std::function<void()>> operations;
  while (!queue_.empty() && operations.size() < limit) {
    operations.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return operations;
}

void CommitLoop::RunBatch(std::vector<std::function<void()>> operations) {
  const absl::Time linger_until = absl::Now() + kMaxLinger;
  size_t count = operations.size();
  for (const auto& operation : operations) operation();
  // A commit costs a disk sync: let others share it.
  while (facts_.dirty() && count < kMaxBatch) {
    operations = Take(kMaxBatch - count, linger_until);
    if (operations.empty()) break;
    count += operations.size();
    for (const auto& operation : operations) operation();
  }
  hooks_.before_commit();
  CommitBatch();
}

void CommitLoop::CommitBatch() {
  absl::Status status;
  if (facts_.dirty()) {
    const std::vector<Change> changes = facts_.TakeChanges();
    const absl::Time start = absl::Now();
    status = store_.Commit(changes);
    metrics_.StoreCommitted(absl::Now() - start, changes.size(), status.ok());
  }
  std::vector<std::function<void(const absl::Status&)>> effects = std::exchange(effects_, {});
  const std::set<std::string> news = facts_.TakeNews();
  if (!status.ok()) {
    Log(LogLevel::kError, "state store refused a commit; facts are read again",
        {{"error", status.ToString()}});
    if (const absl::Status reload = facts_.Reload(); !reload.ok()) {
      // Facts that differ from the store must not be served.
      Log(LogLevel::kError, "state store cannot be read; the process ends", {{"error", reload.ToString()}});
      std::_Exit(EXIT_FAILURE);
    }
    hooks_.after_reload();
    status = MakeError(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", status.message());
  }
  CrashPoint("before-reply");
  for (const auto& effect : effects) effect(status);
  if (status.ok() && !news.empty()) hooks_.news(news);
}

}  // namespace quantmoe
