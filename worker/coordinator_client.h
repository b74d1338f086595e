// The wire to the coordinator: channels, credentials, keepalive, deadlines, and texts that every receiver
// takes. One try per call; who calls decides about another. Thread-safe except where noted.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "quantmoe/v1/blobs.grpc.pb.h"
#include "quantmoe/v1/worker.grpc.pb.h"

namespace quantmoe {

// Whether traffic to this host:port stays on the machine.
bool IsLoopbackTarget(absl::string_view address);

// One Session stream. Read belongs to one thread and Write to one other; Cancel may come from any.
class SessionStream {
 public:
  explicit SessionStream(v1::WorkerService::Stub& stub) : stream_(stub.Session(&context_)) {}

  bool Read(v1::CoordinatorMessage& message) { return stream_->Read(&message); }
  bool Write(v1::WorkerMessage message);
  // Says that nothing more will be written.
  void WritesDone() { stream_->WritesDone(); }
  // Ends the stream at once: a blocked Read or Write returns false.
  void Cancel() { context_.TryCancel(); }
  // Why the stream ended; call once, after Read has returned false.
  absl::Status Finish();

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
};

class CoordinatorClient {
 public:
  struct Options {
    std::string address;  // host:port of the worker listener
    // PEM files. With none of them the connection is in plain text.
    std::string tls_ca_file;
    std::string tls_cert_file;
    std::string tls_key_file;
    // Allows plain text to an address that is not loopback.
    bool insecure = false;
  };

  // INVALID_ARGUMENT when plain text would leave the machine, NOT_FOUND for a missing file. Does not connect.
  static absl::StatusOr<std::unique_ptr<CoordinatorClient>> Create(const Options& options);

  std::shared_ptr<SessionStream> OpenSession();
  absl::StatusOr<v1::CompleteTaskResponse> CompleteTask(v1::CompleteTaskRequest request);
  absl::Status FailTask(v1::FailTaskRequest request);
  // On a connection of its own, so that bulk data never delays a heartbeat.
  v1::BlobService::Stub& blobs() { return *blobs_; }

 private:
  CoordinatorClient() = default;

  std::unique_ptr<v1::WorkerService::Stub> worker_;
  std::unique_ptr<v1::BlobService::Stub> blobs_;
};

}  // namespace quantmoe
