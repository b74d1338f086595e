// A WorkerService that records what a worker tells it and says what the test wants. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include <grpcpp/server.h>

#include "quantmoe/v1/worker.grpc.pb.h"
#include "tests/worker/fake_blob_service.h"

namespace quantmoe {

class FakeCoordinator final : public v1::WorkerService::Service {
 public:
  FakeCoordinator();
  ~FakeCoordinator() override;

  const std::string& address() const { return address_; }

  // Waits for a message of the worker that matches, and returns the first one. Fails the test after 10 s.
  v1::WorkerMessage Await(const std::function<bool(const v1::WorkerMessage&)>& matches);
  // Waits until `condition` holds for what was recorded.
  v1::CompleteTaskRequest AwaitCompletion(const std::string& task);
  v1::FailTaskRequest AwaitFailure(const std::string& task);
  v1::Hello AwaitHello(int nth);  // from 1

  void Send(const v1::CoordinatorMessage& message);
  void Assign(const std::string& task, int64_t memory_bytes = 0);
  void Cancel(const std::string& task);
  void Drop(const std::string& task);

  // Ends the session from this side.
  void CloseSession();
  // Sessions are refused with this status; OK accepts again.
  void RefuseSessions(grpc::Status status);
  // The next `times` CompleteTask calls fail with UNAVAILABLE after they were recorded.
  void LoseCompletions(int times);
  void AnswerCompletions(v1::CompleteTaskResponse::Outcome outcome);
  int completions();

  static v1::AttemptRef Ref(const std::string& task);

  grpc::Status Session(grpc::ServerContext* context,
                       grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream) override;
  grpc::Status CompleteTask(grpc::ServerContext*, const v1::CompleteTaskRequest* request,
                            v1::CompleteTaskResponse* response) override;
  grpc::Status FailTask(grpc::ServerContext*, const v1::FailTaskRequest* request,
                        v1::FailTaskResponse*) override;

 private:
  void AwaitCondition(const std::function<bool()>& condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::string address_;
  FakeBlobService blobs_;
  absl::Mutex mutex_;
  grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream_ ABSL_GUARDED_BY(mutex_) =
      nullptr;
  grpc::ServerContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  grpc::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::WorkerMessage> messages_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::CompleteTaskRequest> completions_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::FailTaskRequest> failures_ ABSL_GUARDED_BY(mutex_);
  int lose_ ABSL_GUARDED_BY(mutex_) = 0;
  v1::CompleteTaskResponse::Outcome outcome_ ABSL_GUARDED_BY(mutex_) = v1::CompleteTaskResponse::COMMITTED;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace quantmoe
