// What a task is given beside its parameters and inputs. Whoever only hands it on needs no libtorch.
#pragma once

#include <atomic>
#include <functional>

#include "absl/strings/string_view.h"

#include "sources/model_sources.h"
#include "storage/blob_store.h"

namespace quantmoe {

struct ComputeDevice;  // quant/device/compute_device.h

struct TaskContext {
  BlobStore& blobs;
  // Where models may be.
  ModelSources models;
  // Called from the computing thread whenever work advances; `fraction` in [0, 1].
  std::function<void(double fraction, absl::string_view phase)> progress;
  // Polled between column blocks, experts, layers and batches; true ends the task with CANCELLED.
  const std::atomic<bool>& cancelled;
  // What the numerics run on; must be there for RunTask.
  const ComputeDevice* device = nullptr;
};

}  // namespace quantmoe
