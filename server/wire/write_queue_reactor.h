// The writing half of every streaming reactor: a bounded queue with one write in flight, Finish exactly once
// and nothing after it. A client that does not read what it is sent is ended when the queue is full. The
// object keeps itself alive until gRPC is done with it; callers outside reactions hold a shared_ptr.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include <grpcpp/grpcpp.h>

#include "proto/grpc_status.h"
#include "server/wire/unary_call.h"

namespace quantmoe {

// Base: grpc::ServerWriteReactor<Message> or grpc::ServerBidiReactor<..., Message>.
template <typename Base, typename Message>
class WriteQueueReactor : public Base, public std::enable_shared_from_this<WriteQueueReactor<Base, Message>> {
 public:
  // Queues a message; dropped when the stream is over. Thread-safe.
  void Write(Message message) {
    absl::MutexLock lock(&mutex_);
    if (final_.has_value()) return;
    if (queue_.size() >= kMaxQueued) return AbandonLocked(TooSlow());
    queue_.push_back(std::move(message));
    if (queue_.size() == 1) this->StartWrite(&queue_.front());
  }

  // Ends the stream after what is queued. Thread-safe; the first call counts.
  void FinishAfterWrites(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (final_.has_value()) return;
    final_ = ToGrpcStatus(status);
    if (queue_.empty()) FinishLocked();
  }

  // Ends the stream without what is queued, for clients that are gone or no longer wanted.
  void FinishNow(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    AbandonLocked(status);
  }

  // UNAVAILABLE: the client may ask again, from where it was.
  static absl::Status TooSlow() {
    return MakeError(absl::StatusCode::kUnavailable, "CLIENT_TOO_SLOW",
                     "the client does not read what it is sent");
  }
  // Messages that have left so far.
  int64_t written() {
    absl::MutexLock lock(&mutex_);
    return written_;
  }

  size_t queued() {
    absl::MutexLock lock(&mutex_);
    return queue_.size();
  }

  void OnWriteDone(bool ok) override {
    bool drained = false;
    {
      absl::MutexLock lock(&mutex_);
      queue_.pop_front();
      ++written_;
      if (!ok) {
        queue_.clear();
        if (!final_.has_value()) final_ = grpc::Status::CANCELLED;
      }
      if (!queue_.empty()) {
        this->StartWrite(&queue_.front());
      } else if (final_.has_value()) {
        FinishLocked();
      } else {
        drained = true;
      }
    }
    if (drained) OnDrained();
  }

  void OnCancel() override { FinishNow(absl::CancelledError("the client went away")); }

  void OnDone() override {
    OnStreamEnd();
    keep_alive_.reset();
  }

 protected:
  WriteQueueReactor(ServiceContext& context, const char* service, const char* method)
      : record_(context.metrics, service, method) {}

  // Called once by the factory, before the reactor is returned to gRPC.
  void KeepAlive() { keep_alive_ = this->shared_from_this(); }
  // Starts an operation from outside of reactions, which must not be after Finish.
  template <typename Start>
  void UnlessFinished(Start start) {
    absl::MutexLock lock(&mutex_);
    if (!finished_) start();
  }
  // Reactions: everything queued has left; the stream is over.
  virtual void OnDrained() {}
  virtual void OnStreamEnd() {}

 private:
  static constexpr size_t kMaxQueued = 1024;

  // The first message is being written; the status follows it, as soon as the client reads.
  void AbandonLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_) return;
    if (!final_.has_value()) final_ = ToGrpcStatus(status);
    if (queue_.empty()) return FinishLocked();
    queue_.erase(queue_.begin() + 1, queue_.end());
  }

  void FinishLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_) return;
    finished_ = true;
    record_.End(*final_);
    this->Finish(*final_);
  }

  RpcRecord record_;
  std::shared_ptr<void> keep_alive_;
  absl::Mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);  // the first one is being written
  std::optional<grpc::Status> final_ ABSL_GUARDED_BY(mutex_);
  int64_t written_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace quantmoe
