#include "server/wire/worker_service.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/crash_point.h"
#include "base/status_macros.h"
#include "proto/grpc_status.h"
#include "proto/lenient_parse.h"
#include "server/loop/task_inputs.h"
#include "server/wire/unary_call.h"
#include "server/wire/write_queue_reactor.h"

namespace quantmoe {
namespace {

constexpr char kService[] = "WorkerService";

using Base = WriteQueueReactor<grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>,
                               v1::CoordinatorMessage>;

class SessionStream final : public Base, public WorkerLink {
 public:
  explicit SessionStream(Core& core) : Base(core, kService, "Session"), core_(core) {}

  void Start() {
    KeepAlive();
    NoteArrival();
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return FinishAfterWrites(absl::OkStatus());
    NoteArrival();
    if (const absl::Status status = CheckFieldLimits(incoming_); !status.ok()) {
      return FinishAfterWrites(status);
    }
    if (incoming_.has_task_nack()) {
      *incoming_.mutable_task_nack()->mutable_reason() = AdoptRpcStatus(incoming_.task_nack().reason());
    }
    // A worker that sends faster than the loop takes is read no further until the loop is there.
    const bool read_on = ++waiting_ < kMaxWaiting;
    core_.loop.Post([this, self = Self(), message = incoming_] {
      Receive(message);
      if (waiting_-- == kMaxWaiting) UnlessFinished([this] { StartRead(&incoming_); });
    });
    if (read_on) StartRead(&incoming_);
  }

  void Send(v1::CoordinatorMessage message) override { Write(std::move(message)); }
  void Close(const absl::Status& status) override { FinishAfterWrites(status); }
  absl::Duration heard_at() const override { return absl::Nanoseconds(heard_at_ns_.load()); }

 private:
  std::shared_ptr<SessionStream> Self() {
    return std::static_pointer_cast<SessionStream>(shared_from_this());
  }

  void NoteArrival() { heard_at_ns_ = absl::ToInt64Nanoseconds(core_.clock.Monotonic()); }

  // On the commit loop, which is the only one that touches worker_.
  void Receive(const v1::WorkerMessage& message) {
    if (!worker_.empty()) return core_.sessions.Receive(worker_, Self(), message);
    if (const absl::Status status = CheckHello(message); !status.ok()) return FinishAfterWrites(status);
    worker_ = message.hello().worker_id();
    core_.sessions.Hello(message.hello(), Self());
  }

  static absl::Status CheckHello(const v1::WorkerMessage& message) {
    if (!message.has_hello()) return InvalidFields({{"hello", "must be the first message"}});
    const v1::Hello& hello = message.hello();
    if (hello.worker_id().empty()) return InvalidFields({{"hello.worker_id", "must not be empty"}});
    if (hello.determinism_class().empty())
      return InvalidFields({{"hello.determinism_class", "must not be empty"}});
    if (hello.api_version() == kWorkerApiVersion) return absl::OkStatus();
    return MakeError(absl::StatusCode::kFailedPrecondition, "WORKER_VERSION_UNSUPPORTED",
                     absl::StrCat("worker API ", hello.api_version(), ", supported: ", kWorkerApiVersion),
                     {{"supported", absl::StrCat(kWorkerApiVersion)}});
  }

  void OnStreamEnd() override {
    core_.loop.Post([this, self = Self()] {
      if (!worker_.empty()) core_.sessions.Disconnected(worker_, self);
    });
  }

  static constexpr int kMaxWaiting = 64;

  Core& core_;
  v1::WorkerMessage incoming_;
  std::atomic<int> waiting_{0};          // messages that the loop has not seen yet
  std::atomic<int64_t> heard_at_ns_{0};  // monotonic
  std::string worker_;
};

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

// A result counts only if all of it is there.
absl::Status CheckOutputs(LocalBlobStore& blobs, const v1::CompleteTaskRequest& request) {
  for (const v1::TaskBlob& output : request.outputs()) {
    if (!IsSha256(output.digest().sha256()))
      return InvalidFields({{"outputs", absl::StrCat("bad digest of ", output.role())}});
    ASSIGN_OR_RETURN(const bool stored, blobs.Contains(FromProto(output.digest())));
    if (stored) continue;
    return MakeError(absl::StatusCode::kFailedPrecondition, "BLOB_NOT_FOUND",
                     absl::StrCat("output ", output.role(), " is not stored"),
                     {{"sha256", output.digest().sha256()}});
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* WorkerServiceHandler::Session(
    grpc::CallbackServerContext*) {
  auto session = std::make_shared<SessionStream>(core_);
  session->Start();
  return session.get();
}

grpc::ServerUnaryReactor* WorkerServiceHandler::CompleteTask(grpc::CallbackServerContext* context,
                                                             const v1::CompleteTaskRequest* request,
                                                             v1::CompleteTaskResponse* response) {
  UnaryReply reply(core_, context, *request, kService, "CompleteTask");
  RunIn(core_.rooms.results, reply, [this, reply, request, response] {
    if (const absl::Status status = CheckOutputs(core_.blobs, *request); !status.ok())
      return reply.Finish(status);
    FinishOnLoop(core_, reply, [this, request, response]() -> absl::Status {
      ASSIGN_OR_RETURN(const auto outcome, core_.attempts.Complete(*request));
      response->set_outcome(outcome);
      core_.loop.AfterCommit([](const absl::Status&) { CrashPoint("before-complete-reply"); });
      return absl::OkStatus();
    });
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* WorkerServiceHandler::FailTask(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) {
  const grpc::Slice empty;  // what FailTaskResponse is on the wire
  *response = grpc::ByteBuffer(&empty, 1);
  v1::FailTaskRequest failure;
  const absl::Status parsed = ParseLeniently(BytesOf(*request), &failure);
  *failure.mutable_error() = AdoptRpcStatus(failure.error());
  UnaryReply reply(core_, context, failure, kService, "FailTask");
  FinishOnLoop(core_, reply, [this, parsed, failure]() -> absl::Status {
    RETURN_IF_ERROR(parsed);
    core_.attempts.Fail(failure);
    return absl::OkStatus();
  });
  return reply.reactor();
}

}  // namespace quantmoe
