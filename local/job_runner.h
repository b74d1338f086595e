// Runs all tasks of a job in this process: the same graph, the same task code and so the same bytes as the
// service. Tasks that do not need one another run side by side, as many as there are threads and memory for.
// Finished tasks are remembered in the work directory, so a run that was stopped goes on where it was.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/graph/task_graph.h"
#include "plan/job/job_spec.h"
#include "quant/device/compute_device.h"
#include "storage/blob_store.h"

namespace quantmoe {

struct FinishedTask {
  std::map<std::string, Digest> outputs;
  double seconds = 0;
  bool cached = false;
};

class JobRunner {
 public:
  // `work_dir` holds results by task key beside the blobs. `device` must outlive the object.
  JobRunner(const ResolvedJob& job, LocalBlobStore& blobs, std::string work_dir, ModelSources models,
            const ComputeDevice& device)
      : job_(job),
        blobs_(blobs),
        work_dir_(std::move(work_dir)),
        models_(std::move(models)),
        device_(device) {}

  using Reporter = std::function<void(const std::string& label, size_t done, size_t total)>;
  // `report(label, done, total)` is called after every task, by one thread at a time.
  absl::Status Run(const Reporter& report);

  // Calls `use`, which reads results. Where one of them turns out to be lost or damaged, the task that made
  // it runs again, and then `use`. Else the status of `use`.
  absl::Status WithWholeBlobs(const std::function<absl::Status()>& use);

  // The output of a finished task. NOT_FOUND.
  absl::StatusOr<Digest> Output(const std::string& label, const std::string& role) const;
  const std::map<std::string, FinishedTask>& tasks() const { return finished_; }

 private:
  enum class Kept { kUse, kMakeAgain };

  absl::StatusOr<std::vector<PlannedTask>> PlanTasks(const Reporter& report);
  absl::StatusOr<PrepareSummary> ReadSummary() const;
  // Runs `tasks`, which are in an order in which they could run one by one.
  absl::Status RunSideBySide(std::vector<PlannedTask> tasks, const Reporter& report);
  // One thread's share: takes tasks whose inputs are there until none is left or one has failed.
  void RunLane(const Reporter& report);
  // The next task that can run, and on how many threads; null when nothing is left.
  const PlannedTask* Take(std::unique_lock<std::mutex>& lock);
  // Also the tasks whose results it misses.
  absl::Status RunOne(const PlannedTask& task, Kept kept);
  absl::Status RunOnce(const PlannedTask& task, Kept kept);
  // The task that made the blob that `loss` is about, unless the blob was lost too often; or nothing.
  std::optional<PlannedTask> MakerOfLost(const absl::Status& loss);
  bool Ready(const PlannedTask& task) const;
  absl::StatusOr<std::vector<BlobRef>> ResolveInputs(const PlannedTask& task) const;
  absl::StatusOr<FinishedTask> Compute(const PlannedTask& task, const std::vector<BlobRef>& inputs,
                                       Kept kept);
  bool LoadResult(const std::string& key, FinishedTask& task);
  absl::Status SaveResult(const std::string& key, const FinishedTask& task);

  const ResolvedJob& job_;
  LocalBlobStore& blobs_;
  const std::string work_dir_;
  const ModelSources models_;
  const ComputeDevice& device_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, FinishedTask> finished_;
  std::map<std::string, int> losses_;  // by digest
  std::vector<PlannedTask> tasks_;
  std::vector<bool> taken_;
  int threads_ = 1, lanes_ = 1, running_ = 0;
  absl::Status failure_;
};

}  // namespace quantmoe
