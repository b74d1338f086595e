// Local files on their way to a server: hashed first, sent only when the server lacks them, resumed where a
// broken upload stopped. Each is read as ReadChunks does; what comes out of a pipe is kept until it is sent.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <quantmoe/v1/types.pb.h>

#include "client/transfer/connection.h"
#include "storage/digest.h"

namespace quantmoe {

// What is sent.
struct UploadSource {
  std::string path;
  std::optional<std::string> bytes = {};  // of a pipe, which gives them only once
};

// Files that a request refers to by digest. Not thread-safe.
class FileUploads {
 public:
  // Hashes the file, once however often it is added. Errors of ReadChunks with kMaxDataBytes; INVALID_FIELD
  // (field `path`) when there is nothing in it but white space. The same bytes are kept once.
  absl::StatusOr<Digest> Add(const std::string& path);

  // Sends what the server does not have. A file that has changed since Add fails with DIGEST_MISMATCH.
  absl::Status Send(const Connection& connection) const;

  size_t size() const { return sources_.size(); }

 private:
  std::map<Digest, UploadSource> sources_;
  std::map<std::string, Digest> digests_;  // by path
};

// Sends one file, going on after lost connections while any of them makes progress.
absl::Status UploadFile(const Connection& connection, const Digest& digest, const UploadSource& source);

}  // namespace quantmoe
