#include "tests/worker/fake_coordinator.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(10);

}  // namespace

FakeCoordinator::FakeCoordinator() {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(static_cast<v1::WorkerService::Service*>(this));
  builder.RegisterService(&blobs_);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeCoordinator::~FakeCoordinator() { server_->Shutdown(std::chrono::system_clock::now()); }

v1::AttemptRef FakeCoordinator::Ref(const std::string& task) {
  v1::AttemptRef ref;
  ref.set_task(task);
  ref.set_token("token-" + task);
  return ref;
}

void FakeCoordinator::AwaitCondition(const std::function<bool()>& condition) {
  ASSERT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&condition), kPatience));
}

v1::WorkerMessage FakeCoordinator::Await(const std::function<bool(const v1::WorkerMessage&)>& matches) {
  absl::MutexLock lock(&mutex_);
  v1::WorkerMessage result;
  AwaitCondition([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = std::find_if(messages_.begin(), messages_.end(), matches);
    if (found != messages_.end()) result = *found;
    return found != messages_.end();
  });
  return result;
}

v1::CompleteTaskRequest FakeCoordinator::AwaitCompletion(const std::string& task) {
  absl::MutexLock lock(&mutex_);
  v1::CompleteTaskRequest result;
  AwaitCondition([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const auto& request : completions_) {
      if (request.attempt().task() == task) result = request;
    }
    return result.has_attempt();
  });
  return result;
}

v1::FailTaskRequest FakeCoordinator::AwaitFailure(const std::string& task) {
  absl::MutexLock lock(&mutex_);
  v1::FailTaskRequest result;
  AwaitCondition([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const auto& request : failures_) {
      if (request.attempt().task() == task) result = request;
    }
    return result.has_attempt();
  });
  return result;
}

v1::Hello FakeCoordinator::AwaitHello(int nth) {
  absl::MutexLock lock(&mutex_);
  v1::Hello result;
  AwaitCondition([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    int seen = 0;
    for (const auto& message : messages_) {
      if (message.has_hello() && ++seen == nth) result = message.hello();
    }
    return seen >= nth && stream_ != nullptr;
  });
  return result;
}

void FakeCoordinator::Send(const v1::CoordinatorMessage& message) {
  absl::MutexLock lock(&mutex_);
  ASSERT_NE(stream_, nullptr);
  stream_->Write(message);
}

void FakeCoordinator::Assign(const std::string& task, int64_t memory_bytes) {
  v1::CoordinatorMessage message;
  message.mutable_assign()->mutable_task()->set_task(task);
  message.mutable_assign()->mutable_task()->set_kind("solve");
  message.mutable_assign()->mutable_task()->set_memory_bytes(memory_bytes);
  message.mutable_assign()->set_token(Ref(task).token());
  Send(message);
}

void FakeCoordinator::Cancel(const std::string& task) {
  v1::CoordinatorMessage message;
  *message.mutable_cancel()->mutable_attempt() = Ref(task);
  Send(message);
}

void FakeCoordinator::Drop(const std::string& task) {
  v1::CoordinatorMessage message;
  *message.mutable_drop()->mutable_attempt() = Ref(task);
  Send(message);
}

void FakeCoordinator::CloseSession() {
  absl::MutexLock lock(&mutex_);
  if (context_ != nullptr) context_->TryCancel();
}

void FakeCoordinator::RefuseSessions(grpc::Status status) {
  absl::MutexLock lock(&mutex_);
  refusal_ = std::move(status);
}

void FakeCoordinator::LoseCompletions(int times) {
  absl::MutexLock lock(&mutex_);
  lose_ = times;
}

void FakeCoordinator::AnswerCompletions(v1::CompleteTaskResponse::Outcome outcome) {
  absl::MutexLock lock(&mutex_);
  outcome_ = outcome;
}

int FakeCoordinator::completions() {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(completions_.size());
}

grpc::Status FakeCoordinator::Session(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream) {
  {
    absl::MutexLock lock(&mutex_);
    if (!refusal_.ok()) return refusal_;
  }
  for (v1::WorkerMessage message; stream->Read(&message);) {
    v1::CoordinatorMessage answer;
    if (message.has_hello()) {
      answer.mutable_welcome()->set_heartbeat_seconds(0.02);
      answer.mutable_welcome()->set_lease_seconds(10);
    }
    if (message.has_heartbeat()) answer.mutable_heartbeat_ack()->set_seq(message.heartbeat().seq());
    absl::MutexLock lock(&mutex_);
    if (answer.message_case() != v1::CoordinatorMessage::MESSAGE_NOT_SET) stream->Write(answer);
    stream_ = stream;
    context_ = context;
    messages_.push_back(message);
  }
  absl::MutexLock lock(&mutex_);
  if (stream_ == stream) {
    stream_ = nullptr;
    context_ = nullptr;
  }
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::CompleteTask(grpc::ServerContext*, const v1::CompleteTaskRequest* request,
                                           v1::CompleteTaskResponse* response) {
  absl::MutexLock lock(&mutex_);
  completions_.push_back(*request);
  if (lose_ > 0) {
    --lose_;
    return {grpc::StatusCode::UNAVAILABLE, "the answer is lost"};
  }
  response->set_outcome(outcome_);
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::FailTask(grpc::ServerContext*, const v1::FailTaskRequest* request,
                                       v1::FailTaskResponse*) {
  absl::MutexLock lock(&mutex_);
  failures_.push_back(*request);
  return grpc::Status::OK;
}

}  // namespace quantmoe
