// The one place where an exception becomes a Status.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Runs `fn`; what it throws becomes: out of memory -> RESOURCE_EXHAUSTED, a failed factorisation ->
// FAILED_PRECONDITION NUMERIC_FAILURE, bad index/value/type -> INVALID_ARGUMENT, not implemented ->
// UNIMPLEMENTED, a broken device -> ABORTED, anything else -> INTERNAL. `what` leads the message.
absl::Status RunGuarded(absl::string_view what, const std::function<absl::Status()>& fn);

template <typename T>
absl::StatusOr<T> RunGuardedOr(absl::string_view what, const std::function<absl::StatusOr<T>()>& fn) {
  absl::StatusOr<T> result = absl::UnknownError("not run");
  absl::Status status = RunGuarded(what, [&] {
    result = fn();
    return result.status();
  });
  if (!status.ok()) return status;
  return result;
}

}  // namespace quantmoe
