// A worker that the test plays: a session, and results without numerics. It does nothing by itself, so that a
// test decides what happens when.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include <grpcpp/grpcpp.h>

#include "quantmoe/v1/blobs.grpc.pb.h"
#include "quantmoe/v1/worker.grpc.pb.h"
#include "storage/digest.h"

namespace quantmoe {

class FakeWorker {
 public:
  struct Options {
    std::string id = "w1";
    std::string determinism_class = "test-class";
    int credits = 1;
    int64_t memory_bytes = int64_t{64} << 30;
    std::vector<v1::AttemptRef> held = {};
    std::string instance = {};
  };
  // Says hello and waits for Welcome, or for the refusal that AwaitEnd tells.
  explicit FakeWorker(const std::string& address) : FakeWorker(address, Options()) {}
  FakeWorker(const std::string& address, Options options);
  // Breaks the connection.
  ~FakeWorker();

  const v1::Welcome& welcome() const { return welcome_; }

  void Write(const v1::WorkerMessage& message);
  void SetCredits(int credits);
  void Heartbeat(const std::vector<v1::AttemptRef>& running, int64_t progress_ticks);
  void Acknowledge(const v1::AttemptRef& attempt);

  // The next message of this kind; others before it are skipped. Fails the test when the stream ends first.
  v1::Assign AwaitAssign();
  // Empty when the stream ends first.
  std::optional<v1::Assign> NextAssign();
  v1::CancelTask AwaitCancel();
  v1::DropTask AwaitDrop();
  // Reads until the stream ends; its status.
  grpc::Status AwaitEnd();

  // Uploads bytes through the blob service.
  v1::Digest Upload(const std::string& bytes);
  // True once the server went away during an upload: what was produced since then is incomplete.
  bool lost_server() const { return lost_server_; }
  // What a real worker's task gives, in form: summary, tables, plan and manifest are real documents.
  std::vector<v1::TaskBlob> Produce(const v1::TaskSpec& task);
  grpc::Status Complete(const v1::AttemptRef& attempt, const std::vector<v1::TaskBlob>& outputs,
                        v1::CompleteTaskResponse::Outcome* outcome);
  // Produces and commits; COMMITTED is expected.
  void Finish(const v1::Assign& assign);
  void Fail(const v1::Assign& assign, v1::FailTaskRequest::FailureClass failure_class);
  // Fails as infrastructure with this error.
  void Fail(const v1::Assign& assign, const absl::Status& error);

  // Takes and finishes tasks until one of this label is assigned, which is returned unfinished.
  v1::Assign RunUntil(const std::string& label);
  // Takes and finishes tasks until `publish` is done. Returns how many it ran.
  int RunToEnd();

 private:
  bool ReadUntil(const std::function<bool(const v1::CoordinatorMessage&)>& wanted);
  std::string ReadBlob(const v1::Digest& digest);

  const Options options_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  std::unique_ptr<v1::BlobService::Stub> blobs_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  v1::Welcome welcome_;
  bool lost_server_ = false;
};

v1::AttemptRef AttemptOf(const v1::Assign& assign);
// The label at the end of a task's name.
std::string LabelOf(const v1::Assign& assign);

}  // namespace quantmoe
