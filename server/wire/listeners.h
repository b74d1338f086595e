// One gRPC server on one address, with health and reflection, keepalive and limits of connections, streams
// and memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <grpcpp/grpcpp.h>

#include "server/wire/connection_acceptor.h"
#include "server/wire/tls_files.h"

namespace quantmoe {

enum class ListenerKind { kPublic, kWorkers };

class Listener {
 public:
  // Services must outlive it. UNAVAILABLE ADDRESS_IN_USE; INVALID_ARGUMENT TLS_INVALID when a file cannot be
  // read.
  static absl::StatusOr<std::unique_ptr<Listener>> Start(const std::string& address, const TlsFiles& tls,
                                                         ListenerKind kind, size_t max_connections,
                                                         const std::vector<grpc::Service*>& services);
  ~Listener();
  const std::string& address() const { return address_; }
  // What the health service says.
  void SetServing(bool serving);
  // From now on health checks may also ask for this service, by its full name.
  void AnswerHealthOf(const std::string& service);
  // No new calls; those in flight have until the deadline. Streams must be ended by their owners first.
  void Stop(absl::Duration deadline);

 private:
  Listener() = default;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<ConnectionAcceptor> acceptor_;  // ends before the server
  std::string address_;
};

}  // namespace quantmoe
