// Local files on their way to a server: hashed first, sent only when the server lacks them, resumed where a
// broken upload stopped.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <quantmoe/v1/types.pb.h>

#include "client/transfer/connection.h"
#include "storage/digest.h"

namespace quantmoe {

// Files that a request refers to by digest. Not thread-safe.
class FileUploads {
 public:
  // Hashes the file, once however often it is added. NOT_FOUND when it cannot be read. The same bytes are
  // kept once.
  absl::StatusOr<Digest> Add(const std::string& path);

  // Sends what the server does not have. A file that has changed since Add fails with DIGEST_MISMATCH.
  absl::Status Send(const Connection& connection) const;

  size_t size() const { return paths_.size(); }

 private:
  std::map<Digest, std::string> paths_;
  std::map<std::string, Digest> digests_;  // by path
};

// Sends one file, going on after lost connections while any of them makes progress.
absl::Status UploadFile(const Connection& connection, const Digest& digest, const std::string& path);

}  // namespace quantmoe
