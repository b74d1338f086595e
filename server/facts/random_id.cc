#include "server/facts/random_id.h"

#include "absl/strings/escaping.h"
#include <sys/random.h>

namespace quantmoe {

std::string RandomHex(int bytes) {
  std::string raw(bytes, '\0');
  size_t filled = 0;
  while (filled < raw.size()) {
    const ssize_t got = getrandom(raw.data() + filled, raw.size() - filled, 0);
    if (got > 0) filled += static_cast<size_t>(got);
  }
  return absl::BytesToHexString(raw);
}

}  // namespace quantmoe
