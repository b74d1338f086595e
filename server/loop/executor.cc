#include "server/loop/executor.h"

#include <pthread.h>

#include "base/crash_report.h"
#include "base/error_info.h"
#include "base/interruption.h"

namespace quantmoe {

Executor::Executor(std::string name, int threads, size_t max_queued)
    : name_(std::move(name)), max_queued_(max_queued) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { WorkLoop(); });
}

Executor::~Executor() { Stop(); }

bool Executor::Post(std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  if (stopping_ || queue_.size() >= max_queued_) return false;
  queue_.push_back(std::move(work));
  return true;
}

void Executor::Stop() {
  Interrupt();
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Executor::WorkLoop() {
  pthread_setname_np(pthread_self(), name_.c_str());
  ReportStackOverflowOfThisThread();
  const InterruptionScope scope([this] {
    if (!interrupted_) return absl::OkStatus();
    return MakeError(absl::StatusCode::kUnavailable, "SHUTTING_DOWN", "the coordinator is shutting down");
  });
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Executor::HasNewsLocked));
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace quantmoe
