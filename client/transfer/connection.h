// How the client reaches a server: options, channel, and the one way to make a unary call (deadline, token,
// status).
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include <grpcpp/grpcpp.h>
#include <quantmoe/v1/artifacts.grpc.pb.h>
#include <quantmoe/v1/blobs.grpc.pb.h>
#include <quantmoe/v1/catalog.grpc.pb.h>
#include <quantmoe/v1/jobs.grpc.pb.h>
#include <quantmoe/v1/system.grpc.pb.h>

#include "base/retry.h"
#include "proto/grpc_status.h"

namespace quantmoe {

struct ConnectionOptions {
  std::string server = "127.0.0.1:7070";  // host:port
  std::string tls_ca;                     // PEM file; with it, or with a certificate, TLS is used
  std::string tls_certificate;            // PEM file, for servers that authenticate clients
  std::string tls_key;                    // PEM file
  std::string token_file;                 // bearer token, sent as `authorization`
  absl::Duration timeout = absl::Seconds(30);
};

// Owns the stubs of one server. Thread-safe.
class Connection {
 public:
  // Reads the files of `options`; does not connect yet. NOT_FOUND or INVALID_ARGUMENT for bad files.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const ConnectionOptions& options);
  Connection(const std::shared_ptr<grpc::Channel>& channel, absl::Duration timeout, std::string token);

  // Sets deadline (unless infinite) and token.
  void Prepare(grpc::ClientContext& context, absl::Duration timeout) const;

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) const {
    grpc::ClientContext context;
    Prepare(context, timeout_);
    Response response;
    absl::Status status = FromGrpcStatus((stub.*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }

  // The same, tried again on UNAVAILABLE: for idempotent calls only.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> CallWithRetry(Stub& stub,
                                         grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                      Response*),
                                         const Request& request) const {
    Backoff backoff(backoff_);
    for (int attempt = 1;; ++attempt) {
      absl::StatusOr<Response> response = Call(stub, method, request);
      if (response.ok() || !absl::IsUnavailable(response.status()) || attempt == kMaxAttempts)
        return response;
      absl::SleepFor(backoff.Next());
    }
  }

  // All pages of a list as one answer. A server that goes in circles is left after kMaxPages.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> ListAll(Stub& stub,
                                   grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                Response*),
                                   Request request) const {
    Response all;
    request.set_page_size(kPageSize);
    for (int pages = 0; pages < kMaxPages; ++pages) {
      absl::StatusOr<Response> page = CallWithRetry(stub, method, request);
      if (!page.ok()) return page.status();
      request.set_page_token(page->next_page_token());
      page->clear_next_page_token();
      all.MergeFrom(*page);
      if (request.page_token().empty()) return all;
    }
    return absl::InternalError("the server's list has no end");
  }

  v1::JobService::Stub& jobs() const { return *jobs_; }
  v1::ArtifactService::Stub& artifacts() const { return *artifacts_; }
  v1::BlobService::Stub& blobs() const { return *blobs_; }
  v1::CatalogService::Stub& catalog() const { return *catalog_; }
  v1::SystemService::Stub& system() const { return *system_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  absl::Duration timeout() const { return timeout_; }
  const BackoffOptions& backoff() const { return backoff_; }
  void set_backoff(BackoffOptions backoff) { backoff_ = backoff; }

 private:
  static constexpr int kMaxAttempts = 5;
  static constexpr int kPageSize = 500;
  static constexpr int kMaxPages = 100'000;

  std::shared_ptr<grpc::Channel> channel_;
  absl::Duration timeout_;
  std::string token_;
  BackoffOptions backoff_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
  std::unique_ptr<v1::BlobService::Stub> blobs_;
  std::unique_ptr<v1::CatalogService::Stub> catalog_;
  std::unique_ptr<v1::SystemService::Stub> system_;
};

}  // namespace quantmoe
