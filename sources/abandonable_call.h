// Calls into libraries that block and cannot be told to stop.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantmoe {

// Runs `call` on a thread of its own and waits for it. When the calling thread is interrupted
// (base/interruption.h) it returns with that status within a tenth of a second; after `limit` with
// DEADLINE_EXCEEDED. Then `call` goes on by itself: it must own all that it uses.
absl::Status RunUnlessInterrupted(absl::Duration limit, std::function<void()> call);

// Calls that were left to themselves and still run.
int AbandonedCalls();

// `code`, for main to return. With abandoned calls the program ends here instead: they may still use what its
// end would destroy.
int ExitCodeOrEnd(int code);

// The result of `call`; nothing was returned when the status is not OK.
template <typename T>
absl::Status GetUnlessInterrupted(absl::Duration limit, std::function<T()> call, std::shared_ptr<T>& result) {
  // Filled by the call only: one that comes too late fills what nobody looks at.
  auto filled = std::make_shared<std::shared_ptr<T>>();
  const absl::Status status = RunUnlessInterrupted(
      limit, [filled, call = std::move(call)] { *filled = std::make_shared<T>(call()); });
  if (status.ok()) result = std::move(*filled);
  return status;
}

}  // namespace quantmoe
