// What a task is given beside its parameters and inputs.
#pragma once

#include <atomic>
#include <functional>

#include "absl/strings/string_view.h"

#include "sources/model_sources.h"
#include "storage/blob_store.h"

namespace quantmoe {

struct TaskContext {
  BlobStore& blobs;
  // Where models may be.
  ModelSources models;
  // Called from the computing thread whenever work advances; `fraction` in [0, 1].
  std::function<void(double fraction, absl::string_view phase)> progress;
  // Polled between column blocks, experts, layers and batches; true ends the task with CANCELLED.
  const std::atomic<bool>& cancelled;
};

}  // namespace quantmoe
