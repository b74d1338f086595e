#include "server/wire/watch_stream.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error_info.h"
#include "proto/proto_time.h"
#include "server/facts/resource_names.h"
#include "server/facts/stored_records.h"
#include "server/loop/job_watchers.h"
#include "server/wire/write_queue_reactor.h"

namespace quantmoe {
namespace {

constexpr int kPageEvents = 256;
constexpr int kMaxStillHeartbeats = 4;

using Base = WriteQueueReactor<grpc::ServerWriteReactor<v1::JobEvent>, v1::JobEvent>;

class WatchStream final : public Base, public JobWatcher {
 public:
  WatchStream(ServiceContext& context, const v1::WatchJobRequest& request)
      : Base(context, "JobService", "WatchJob"),
        context_(context),
        name_(request.name()),
        sent_seq_(request.after_seq()) {}

  void Start(const v1::WatchJobRequest& request) {
    KeepAlive();
    if (const absl::Status status = CheckFieldLimits(request); !status.ok()) return FinishAfterWrites(status);
    const bool queued = context_.loop.Offer([this, self = Self()] {
      loop_thread.AssertHeld();
      const auto id = ParseJobName(name_);
      const Job* job = id.ok() ? context_.facts.table().Find(*id) : nullptr;
      if (job == nullptr) return FinishAfterWrites(JobNotFound(name_));
      job_ = *id;
      const absl::Status added = context_.watchers.Add(*job, self, context_.clock.Monotonic());
      if (!added.ok()) FinishAfterWrites(added);
    });
    if (!queued) FinishAfterWrites(QueueFull());
  }

  void LogGrew(int64_t last_seq, bool ended) ON_LOOP override {
    {
      absl::MutexLock lock(&state_mutex_);
      last_seq_ = last_seq;
      ended_ = ended;
    }
    Advance();
  }
  void JobGone() ON_LOOP override { FinishAfterWrites(JobNotFound(name_)); }
  void Progress(const v1::Progress& progress) ON_LOOP override {
    if (queued() > 0) return;
    v1::JobEvent event;
    *event.mutable_time() = ToTimestamp(context_.clock.Now());
    *event.mutable_progress() = progress;
    Write(std::move(event));
  }
  void Waiting(const v1::Waiting& waiting) ON_LOOP override {
    {
      absl::MutexLock lock(&state_mutex_);
      waiting_ = waiting;
    }
    if (queued() == 0) WriteWaiting();
  }
  void Heartbeat(int64_t last_seq) ON_LOOP override {
    if (IsStuck()) return FinishNow(TooSlow());
    if (queued() == 0) {
      v1::JobEvent event;
      *event.mutable_time() = ToTimestamp(context_.clock.Now());
      event.mutable_heartbeat()->set_last_seq(last_seq);
      Write(std::move(event));
    }
    Advance();  // a page that found the executor full is tried again
  }
  void Close(const absl::Status& status) ON_LOOP override { FinishNow(status); }

 private:
  std::shared_ptr<WatchStream> Self() { return std::static_pointer_cast<WatchStream>(shared_from_this()); }

  // Nothing has left for so many heartbeats although something waits.
  bool IsStuck() ON_LOOP {
    const int64_t now_written = written();
    still_ = queued() > 0 && now_written == seen_written_ ? still_ + 1 : 0;
    seen_written_ = now_written;
    return still_ >= kMaxStillHeartbeats;
  }

  void OnDrained() override {
    WriteWaiting();
    Advance();
  }

  void WriteWaiting() {
    v1::JobEvent event;
    {
      absl::MutexLock lock(&state_mutex_);
      if (!waiting_.has_value()) return;
      *event.mutable_waiting() = *std::exchange(waiting_, std::nullopt);
    }
    Write(std::move(event));
  }

  void OnStreamEnd() override {
    context_.loop.Post([this, self = Self()] {
      loop_thread.AssertHeld();
      context_.watchers.Remove(job_, self);
    });
  }

  // Reads the next page if there is one and nobody reads or writes.
  void Advance() {
    {
      absl::MutexLock lock(&state_mutex_);
      if (reading_) return;
      if (sent_seq_ < last_seq_ && queued() == 0) {
        reading_ = context_.rooms.watches.Post([this, self = Self()] { ReadPage(); });
        return;
      }
      if (sent_seq_ < last_seq_ || !ended_) return;
    }
    FinishAfterWrites(absl::OkStatus());
  }

  void ReadPage() NEVER_ON_LOOP {
    int64_t after = 0;
    {
      absl::MutexLock lock(&state_mutex_);
      after = sent_seq_;
    }
    const auto events = context_.store().ReadEvents(job_, after, kPageEvents);
    if (!events.ok()) return FinishAfterWrites(events.status());
    {
      absl::MutexLock lock(&state_mutex_);
      reading_ = !events->empty();
      if (!reading_) return;  // the job was deleted
      sent_seq_ = events->back().seq;
    }
    for (const StoredEvent& stored : *events) {
      Write(DecodeEvent(stored));
    }
    {
      absl::MutexLock lock(&state_mutex_);
      reading_ = false;
    }
    Advance();
  }

  ServiceContext& context_;
  const std::string name_;
  std::string job_;  // set on the loop before anything else happens
  int64_t seen_written_ OF_LOOP = 0;
  int still_ OF_LOOP = 0;
  absl::Mutex state_mutex_;
  int64_t sent_seq_ ABSL_GUARDED_BY(state_mutex_);
  int64_t last_seq_ ABSL_GUARDED_BY(state_mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(state_mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(state_mutex_) = false;
  std::optional<v1::Waiting> waiting_ ABSL_GUARDED_BY(state_mutex_);  // not written yet
};

}  // namespace

grpc::ServerWriteReactor<v1::JobEvent>* StartWatch(ServiceContext& context,
                                                   const v1::WatchJobRequest& request) {
  auto stream = std::make_shared<WatchStream>(context, request);
  stream->Start(request);
  return stream.get();
}

}  // namespace quantmoe
