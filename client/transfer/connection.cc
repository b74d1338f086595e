#include "client/transfer/connection.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/whole_file.h"

namespace quantmoe {
namespace {

// Reports and job lists of large models pass the default of 4 MiB.
constexpr int kMaxReceiveBytes = 64 << 20;
// gRPC refuses calls whose headers pass 8 KiB together.
constexpr size_t kMaxTokenBytes = 7 << 10;

absl::StatusOr<std::string> ReadOptionalFile(const std::string& flag, const std::string& path) {
  if (path.empty()) return std::string();
  absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxSecretBytes);
  if (!text.ok()) return NameFlag(flag, text.status());
  if (text->empty()) return InvalidFields({{flag, absl::StrCat("cannot read ", path, ": it is empty")}});
  return text;
}

// The secret itself is never repeated.
absl::StatusOr<std::string> ReadToken(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadOptionalFile("--token-file", path));
  const absl::string_view token = absl::StripAsciiWhitespace(text);
  const bool empty = token.empty() && !path.empty();
  if (!empty && token.size() <= kMaxTokenBytes &&
      std::all_of(token.begin(), token.end(), absl::ascii_isgraph))
    return std::string(token);
  return InvalidFields({{"--token-file", absl::StrCat(path, " does not hold a token: one word of at most ",
                                                      kMaxTokenBytes, " visible ASCII characters")}});
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const ConnectionOptions& options) {
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  if (options.tls_ca.empty() && options.tls_certificate.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions tls;
  ASSIGN_OR_RETURN(tls.pem_root_certs, ReadOptionalFile("--tls-ca", options.tls_ca));
  ASSIGN_OR_RETURN(tls.pem_cert_chain, ReadOptionalFile("--tls-cert", options.tls_certificate));
  ASSIGN_OR_RETURN(tls.pem_private_key, ReadOptionalFile("--tls-key", options.tls_key));
  return grpc::SslCredentials(tls);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const ConnectionOptions& options) {
  ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials, MakeCredentials(options));
  if (!options.token_file.empty() && options.tls_ca.empty() && options.tls_certificate.empty()) {
    return absl::InvalidArgumentError(
        "--token-file needs TLS: give --tls-ca, so that nobody on the way reads it");
  }
  ASSIGN_OR_RETURN(std::string token, ReadToken(options.token_file));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  // Dead connections must end a quiet watch. Servers tolerate pings with open calls at most every ten
  // seconds.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  return std::make_unique<Connection>(grpc::CreateCustomChannel(options.server, credentials, arguments),
                                      options.timeout, std::move(token));
}

Connection::Connection(const std::shared_ptr<grpc::Channel>& channel, absl::Duration timeout,
                       std::string token)
    : channel_(channel),
      timeout_(timeout),
      token_(std::move(token)),
      jobs_(v1::JobService::NewStub(channel)),
      artifacts_(v1::ArtifactService::NewStub(channel)),
      blobs_(v1::BlobService::NewStub(channel)),
      catalog_(v1::CatalogService::NewStub(channel)),
      system_(v1::SystemService::NewStub(channel)) {}

void Connection::Prepare(grpc::ClientContext& context, absl::Duration timeout) const {
  if (timeout != absl::InfiniteDuration()) context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  if (!token_.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token_));
}

}  // namespace quantmoe
