// Files that somebody names, read from begin to end and never without one: a pipe or a device may give bytes
// for ever.
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Texts, benchmark items, tables and plans.
inline constexpr int64_t kMaxDataBytes = int64_t{2} << 30;
// Certificates, keys and tokens.
inline constexpr int64_t kMaxSecretBytes = int64_t{1} << 20;
// What is no regular file comes only once, so whoever needs it twice holds it in memory.
inline constexpr int64_t kMaxPipedBytes = int64_t{256} << 20;

// Gives `take` the bytes of a file in order. Pipes, FIFOs and devices are read as files are; "-" is standard
// input. NOT_FOUND says why `path` cannot be read, as a folder cannot. INVALID_ARGUMENT INVALID_FIELD (field
// `path`) where it has more than `most` bytes, or more than kMaxPipedBytes and is no regular file; a regular
// file is then refused before anything of it is taken. Blocking.
absl::Status ReadChunks(const std::string& path, int64_t most,
                        absl::FunctionRef<void(absl::string_view chunk)> take);
// All of it; errors of ReadChunks.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t most);

// An error of these for a file that `flag` names: INVALID_FIELD (field `flag`), or the error of another kind
// with the flag before it.
absl::Status NameFlag(const std::string& flag, const absl::Status& error);

// Whether the bytes can be read again: `path` is a regular file.
bool CanBeReadAgain(const std::string& path);

// Nothing but white space, which is neither a text nor an item whatever reads it.
bool IsBlank(absl::string_view bytes);
// INVALID_FIELD (field `path`) that says so.
absl::Status BlankFile(const std::string& path);

}  // namespace quantmoe
