#include "server/wire/listeners.h"

#include <chrono>
#include <mutex>

#include "absl/strings/str_cat.h"
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "net/listen_address.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

constexpr int kMaxMessageBytes = 4 << 20;
constexpr int kKeepaliveMs = 30'000;
constexpr int kMinPingIntervalMs = 10'000;
// A connection that has not said what it wants by then is closed.
constexpr int kHandshakeMs = 10'000;
// One without a call. Clients connect again by themselves.
constexpr int kIdleMs = 10 * 60'000;
constexpr int kMaxStreams = 128;  // of one connection at a time
// Of messages that are being received and sent.
constexpr size_t kMaxBufferBytes = size_t{512} << 20;

absl::StatusOr<std::string> ReadPem(const std::string& path) {
  absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxSecretBytes);
  if (text.ok() && !text->empty()) return text;
  return MakeError(absl::StatusCode::kInvalidArgument, "TLS_INVALID",
                   text.ok() ? absl::StrCat(path, " is empty") : std::string(text.status().message()));
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsFiles& tls,
                                                                         ListenerKind kind) {
  if (tls.certificate.empty()) return grpc::InsecureServerCredentials();
  const bool mutual = kind == ListenerKind::kWorkers && !tls.client_ca.empty();
  grpc::SslServerCredentialsOptions options(mutual
                                                ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  grpc::SslServerCredentialsOptions::PemKeyCertPair pair;
  ASSIGN_OR_RETURN(pair.private_key, ReadPem(tls.key));
  ASSIGN_OR_RETURN(pair.cert_chain, ReadPem(tls.certificate));
  options.pem_key_cert_pairs.push_back(std::move(pair));
  if (mutual) {
    ASSIGN_OR_RETURN(options.pem_root_certs, ReadPem(tls.client_ca));
  }
  return grpc::SslServerCredentials(options);
}

// What one client may take, so that it leaves something for the others.
void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.SetResourceQuota(grpc::ResourceQuota("listener").Resize(kMaxBufferBytes));
  // The size of a message is checked when it is unpacked already, and 4 MiB unpack to gigabytes.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
}

void EnablePlugins() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Start(const std::string& address, const TlsFiles& tls,
                                                          ListenerKind kind, size_t max_connections,
                                                          const std::vector<grpc::Service*>& services) {
  EnablePlugins();
  ASSIGN_OR_RETURN(const ListenAddress parsed, ParseListenAddress(address));
  ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(tls, kind));
  ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets, ListenSocket::Bind(parsed.host, parsed.port));
  grpc::ServerBuilder builder;
  SetLimits(builder);
  const std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> connections =
      builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<Listener> listener(new Listener);
  listener->server_ = builder.BuildAndStart();
  if (listener->server_ == nullptr) {
    return MakeError(absl::StatusCode::kUnavailable, "LISTENER_FAILED",
                     absl::StrCat("cannot serve on ", address));
  }
  listener->acceptor_ = std::make_unique<ConnectionAcceptor>(
      kind == ListenerKind::kWorkers ? "workers" : "api", std::move(sockets), max_connections,
      [connections](int listening, int connection) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters accepted;
        accepted.listener_fd = listening;
        accepted.fd = connection;
        connections->HandleNewConnection(&accepted);
      });
  listener->address_ = ListenAddressText({parsed.host, listener->acceptor_->port()});
  return listener;
}

Listener::~Listener() { Stop(absl::ZeroDuration()); }

void Listener::SetServing(bool serving) { server_->GetHealthCheckService()->SetServingStatus(serving); }

void Listener::AnswerHealthOf(const std::string& service) {
  server_->GetHealthCheckService()->SetServingStatus(service, true);
}

void Listener::Stop(absl::Duration deadline) {
  if (server_ == nullptr) return;
  acceptor_.reset();
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
  server_.reset();
}

}  // namespace quantmoe
