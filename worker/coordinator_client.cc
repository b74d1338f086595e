#include "worker/coordinator_client.h"

#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "proto/grpc_status.h"
#include "proto/valid_texts.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

constexpr std::chrono::seconds kCallDeadline(10);
constexpr int kMaxMessageBytes = 16 << 20;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  if (path.empty()) return std::string();
  return ReadWholeFile(path, kMaxSecretBytes);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const CoordinatorClient::Options& options) {
  if (options.tls_ca_file.empty() && options.tls_cert_file.empty()) {
    if (options.insecure || IsLoopbackTarget(options.address)) return grpc::InsecureChannelCredentials();
    return MakeError(absl::StatusCode::kInvalidArgument, "INSECURE_ADDRESS",
                     absl::StrCat("will not talk to ", options.address,
                                  " in plain text; give TLS files, or allow it with --insecure"));
  }
  grpc::SslCredentialsOptions ssl;
  ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadFile(options.tls_ca_file));
  ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadFile(options.tls_cert_file));
  ASSIGN_OR_RETURN(ssl.pem_private_key, ReadFile(options.tls_key_file));
  return grpc::SslCredentials(ssl);
}

// Keepalive as the server tolerates it. gRPC's own reconnect backoff stays below ours, which has the jitter.
grpc::ChannelArguments ControlArguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Channels with equal arguments would share connections with those of other workers in the process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

grpc::ChannelArguments BulkArguments() {
  grpc::ChannelArguments arguments = ControlArguments();
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  return arguments;
}

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
}

}  // namespace

bool IsLoopbackTarget(absl::string_view address) {
  return absl::StartsWith(address, "127.") || absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "[::1]:") || absl::StartsWith(address, "unix:");
}

bool SessionStream::Write(v1::WorkerMessage message) {
  MakeTextsValid(message);
  return stream_->Write(message);
}

absl::Status SessionStream::Finish() { return FromGrpcStatus(stream_->Finish()); }

absl::StatusOr<std::unique_ptr<CoordinatorClient>> CoordinatorClient::Create(const Options& options) {
  ASSIGN_OR_RETURN(auto credentials, MakeCredentials(options));
  std::unique_ptr<CoordinatorClient> client(new CoordinatorClient);
  client->worker_ =
      v1::WorkerService::NewStub(grpc::CreateCustomChannel(options.address, credentials, ControlArguments()));
  client->blobs_ =
      v1::BlobService::NewStub(grpc::CreateCustomChannel(options.address, credentials, BulkArguments()));
  return client;
}

std::shared_ptr<SessionStream> CoordinatorClient::OpenSession() {
  return std::make_shared<SessionStream>(*worker_);
}

absl::StatusOr<v1::CompleteTaskResponse> CoordinatorClient::CompleteTask(v1::CompleteTaskRequest request) {
  MakeTextsValid(request);
  grpc::ClientContext context;
  SetDeadline(context);
  v1::CompleteTaskResponse response;
  RETURN_IF_ERROR(FromGrpcStatus(worker_->CompleteTask(&context, request, &response)));
  return response;
}

absl::Status CoordinatorClient::FailTask(v1::FailTaskRequest request) {
  MakeTextsValid(request);
  grpc::ClientContext context;
  SetDeadline(context);
  v1::FailTaskResponse response;
  return FromGrpcStatus(worker_->FailTask(&context, request, &response));
}

}  // namespace quantmoe
