// Runs all tasks of a job in this process: the same graph, the same task code and so the same bytes as the
// service. Tasks that do not need one another run side by side, as many as there are threads and memory for.
// Finished tasks are remembered in the work directory, so a run that was stopped goes on where it was.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/graph/task_graph_state.h"
#include "plan/job/job_spec.h"
#include "quant/device/compute_device.h"
#include "storage/blob_store.h"

namespace quantmoe {

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
  // it runs again, and then `use`. Else the status of `use`. `reader`: the task that `use` runs; null: none.
  absl::Status WithWholeBlobs(const std::function<absl::Status()>& use, const TaskNode* reader = nullptr);

  // Not while Run runs.
  const TaskGraphState& graph() const { return graph_; }
  // What the task took; 0 for one whose result was there.
  double SecondsOf(const TaskNode& task) const { return seconds_[static_cast<size_t>(task.index)]; }

 private:
  // What becomes of an earlier result with the same key.
  enum class Kept { kUse, kMakeAgain };
  struct Result {
    std::vector<BlobRef> outputs;
    bool cached = false;
    double seconds = 0;
  };

  void AddTasks(std::vector<TaskDefinition> tasks);
  absl::Status RunPrepare();
  // Runs what is left of the graph.
  absl::Status RunSideBySide(const Reporter& report);
  // One thread's share: takes tasks whose inputs are there until none is left or one has failed.
  void RunLane(const Reporter& report);
  // The next task that can run, started, and on how many threads; null when nothing is left.
  const TaskNode* Take(std::unique_lock<std::mutex>& lock);
  void Start(const TaskNode& task);
  // Runs a started task; also those whose results it misses.
  absl::Status RunStarted(const TaskNode& task, Kept kept);
  absl::Status RunOnce(const TaskNode& task, Kept kept);
  void Finish(const TaskNode& task, Result result);
  // Whether the blob that `loss` is about was made again; not, when nobody makes it or it was lost too often.
  absl::StatusOr<bool> MakeAgain(const absl::Status& loss, const TaskNode* reader);
  absl::StatusOr<Result> Compute(const TaskNode& task, const std::vector<BlobRef>& inputs, Kept kept);
  std::optional<Result> LoadResult(const std::string& key);
  absl::Status SaveResult(const std::string& key, const std::vector<BlobRef>& outputs);

  const ResolvedJob& job_;
  LocalBlobStore& blobs_;
  const std::string work_dir_;
  const ModelSources models_;
  const ComputeDevice& device_;

  std::mutex mutex_;
  std::condition_variable changed_;
  TaskGraphState graph_;
  std::vector<double> seconds_;  // by task
  int threads_ = 1, lanes_ = 1;
  absl::Status failure_;
};

}  // namespace quantmoe
