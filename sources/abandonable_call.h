// Calls into libraries that block and cannot be told to stop.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"

namespace quantmoe {

// Runs `call` and waits for it. When the calling thread is interrupted (base/interruption.h) it returns with
// that status within a tenth of a second, and `call` goes on by itself on a thread of its own: it must own
// all that it uses. Without a way to be interrupted it simply runs here.
absl::Status RunUnlessInterrupted(std::function<void()> call);

// Calls that were left to themselves and still run. A program that ends with some must not destroy what they
// use.
int AbandonedCalls();

// The result of `call`; nothing was returned when the status is not OK.
template <typename T>
absl::Status GetUnlessInterrupted(std::function<T()> call, std::shared_ptr<T>& result) {
  // Filled by the call only: one that comes too late fills what nobody looks at.
  auto filled = std::make_shared<std::shared_ptr<T>>();
  const absl::Status status =
      RunUnlessInterrupted([filled, call = std::move(call)] { *filled = std::make_shared<T>(call()); });
  if (status.ok()) result = std::move(*filled);
  return status;
}

}  // namespace quantmoe
