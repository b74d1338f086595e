#include "base/retry.h"

#include <algorithm>
#include <cmath>

#include "absl/random/random.h"

namespace quantmoe {

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsDeadlineExceeded(status);
}

absl::Duration Backoff::Next() {
  thread_local absl::BitGen bits;
  const absl::Duration ceiling =
      std::min(options_.maximum, options_.initial * std::pow(options_.multiplier, std::min(tries_++, 30)));
  return ceiling * absl::Uniform(bits, 0.0, 1.0);
}

}  // namespace quantmoe
