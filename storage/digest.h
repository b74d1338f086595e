// SHA-256 names of immutable bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace quantmoe {

struct Digest {
  std::string sha256;  // 64 lower-case hexadecimal characters
  int64_t size_bytes = 0;

  friend auto operator<=>(const Digest&, const Digest&) = default;
  friend bool operator==(const Digest&, const Digest&) = default;
};

// True for 64 lower-case hexadecimal characters.
bool IsSha256(absl::string_view text);

Digest DigestOf(absl::string_view bytes);

// Incremental SHA-256. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(absl::string_view bytes);
  // The digest of all bytes so far; the object must not be used afterwards.
  Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quantmoe
