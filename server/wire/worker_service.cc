#include "server/wire/worker_service.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/crash_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "proto/grpc_status.h"
#include "proto/lenient_parse.h"
#include "proto/worker_api.h"
#include "server/facts/task_rows.h"
#include "server/wire/unary_call.h"
#include "server/wire/write_queue_reactor.h"

namespace quantmoe {
namespace {

constexpr char kService[] = "WorkerService";

using Base = WriteQueueReactor<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>, grpc::ByteBuffer>;

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

grpc::ByteBuffer BufferOf(const google::protobuf::Message& message) {
  const grpc::Slice bytes(message.SerializeAsString());
  return grpc::ByteBuffer(&bytes, 1);
}

void LogDamagedText(const std::string& worker, absl::string_view what) {
  Log(LogLevel::kWarning, "a worker sends text that is not UTF-8", {{"worker", worker}, {"in", what}});
}

class SessionStream final : public Base, public WorkerLink {
 public:
  explicit SessionStream(ServiceContext& context) : Base(context, kService, "Session"), context_(context) {}

  void Start() {
    KeepAlive();
    NoteArrival();
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    // Behind what was read before, which may end the session with an error.
    if (!ok) return context_.loop.Post([this, self = Self()] { FinishAfterWrites(absl::OkStatus()); });
    NoteArrival();
    // A worker that sends faster than the loop takes is read no further until the loop is there.
    const bool read_on = ++waiting_ < kMaxWaiting;
    context_.loop.Post([this, self = Self(), incoming = Decode()] {
      loop_thread.AssertHeld();
      Receive(incoming);
      if (waiting_-- == kMaxWaiting) UnlessFinished([this] { StartRead(&incoming_); });
    });
    if (read_on) StartRead(&incoming_);
  }

  void Send(v1::CoordinatorMessage message) override { Write(BufferOf(message)); }
  void Close(const absl::Status& status) override { FinishAfterWrites(status); }
  absl::Duration heard_at() const override { return absl::Nanoseconds(heard_at_ns_.load()); }

 private:
  std::shared_ptr<SessionStream> Self() {
    return std::static_pointer_cast<SessionStream>(shared_from_this());
  }

  void NoteArrival() { heard_at_ns_ = absl::ToInt64Nanoseconds(context_.clock.Monotonic()); }

  struct Incoming {
    absl::Status status;  // of the message itself
    bool damaged = false;
    v1::WorkerMessage message;
  };

  Incoming Decode() const {
    Incoming incoming;
    const absl::StatusOr<bool> damaged = ParseLeniently(BytesOf(incoming_), &incoming.message);
    incoming.status = damaged.ok() ? CheckFieldLimits(incoming.message) : damaged.status();
    incoming.damaged = damaged.value_or(false);
    if (incoming.message.has_task_nack()) {
      v1::TaskNack& nack = *incoming.message.mutable_task_nack();
      *nack.mutable_reason() = AdoptRpcStatus(nack.reason());
    }
    return incoming;
  }

  void Receive(const Incoming& incoming) ON_LOOP {
    const v1::WorkerMessage& message = incoming.message;
    if (incoming.damaged && !std::exchange(told_damage_, true)) {
      LogDamagedText(worker_.empty() ? message.hello().worker_id() : worker_, "its session");
    }
    if (!incoming.status.ok()) return FinishAfterWrites(incoming.status);
    if (!worker_.empty()) return context_.sessions.Receive(worker_, Self(), message);
    if (const absl::Status status = CheckHello(message); !status.ok()) return FinishAfterWrites(status);
    worker_ = message.hello().worker_id();
    context_.sessions.Hello(message.hello(), Self());
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
    context_.loop.Post([this, self = Self()] {
      loop_thread.AssertHeld();
      if (!worker_.empty()) context_.sessions.Disconnected(worker_, self);
    });
  }

  static constexpr int kMaxWaiting = 64;

  ServiceContext& context_;
  grpc::ByteBuffer incoming_;
  std::atomic<int> waiting_{0};          // messages that the loop has not seen yet
  std::atomic<int64_t> heard_at_ns_{0};  // monotonic
  std::string worker_ OF_LOOP;
  bool told_damage_ OF_LOOP = false;
};

// What a worker told in a unary call.
template <typename Request>
absl::Status DecodeCall(const grpc::ByteBuffer& buffer, Request& request) {
  ASSIGN_OR_RETURN(const bool damaged, ParseLeniently(BytesOf(buffer), &request));
  if (damaged) LogDamagedText(request.worker_id(), Request::descriptor()->name());
  return absl::OkStatus();
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

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* WorkerServiceHandler::Session(
    grpc::CallbackServerContext*) {
  auto session = std::make_shared<SessionStream>(context_);
  session->Start();
  return session.get();
}

grpc::ServerUnaryReactor* WorkerServiceHandler::CompleteTask(grpc::CallbackServerContext* call,
                                                             const grpc::ByteBuffer* bytes,
                                                             grpc::ByteBuffer* response) {
  const auto request = std::make_shared<v1::CompleteTaskRequest>();
  const absl::Status decoded = DecodeCall(*bytes, *request);
  UnaryReply reply(context_, call, *request, kService, "CompleteTask");
  RunIn(context_.rooms.results, reply, [this, reply, decoded, request, response] {
    absl::Status status = decoded;
    if (status.ok()) status = CheckOutputs(context_.blobs(), *request);
    if (!status.ok()) return reply.Finish(status);
    FinishOnLoop(context_, reply, [this, request, response]() -> absl::Status {
      loop_thread.AssertHeld();
      v1::CompleteTaskResponse answer;
      ASSIGN_OR_RETURN(const auto outcome, context_.attempts.Complete(*request));
      answer.set_outcome(outcome);
      *response = BufferOf(answer);
      context_.loop.AfterCommit([](const absl::Status&) { CrashPoint("before-complete-reply"); });
      return absl::OkStatus();
    });
  });
  return reply.reactor();
}

grpc::ServerUnaryReactor* WorkerServiceHandler::FailTask(grpc::CallbackServerContext* call,
                                                         const grpc::ByteBuffer* bytes,
                                                         grpc::ByteBuffer* response) {
  *response = BufferOf(v1::FailTaskResponse());
  v1::FailTaskRequest failure;
  const absl::Status decoded = DecodeCall(*bytes, failure);
  *failure.mutable_error() = AdoptRpcStatus(failure.error());
  UnaryReply reply(context_, call, failure, kService, "FailTask");
  FinishOnLoop(context_, reply, [this, decoded, failure]() -> absl::Status {
    loop_thread.AssertHeld();
    RETURN_IF_ERROR(decoded);
    context_.attempts.Fail(failure);
    return absl::OkStatus();
  });
  return reply.reactor();
}

}  // namespace quantmoe
