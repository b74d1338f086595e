// Runs all tasks of a job one after the other in this process: the same graph, the same task code and so the
// same bytes as the service. Finished tasks are remembered in the work directory, so a run that was stopped
// goes on where it was.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/job_spec.h"
#include "plan/task_graph.h"
#include "storage/blob_store.h"

namespace quantmoe {

struct FinishedTask {
  std::map<std::string, Digest> outputs;
  double seconds = 0;
  bool cached = false;
};

class JobRunner {
 public:
  // `work_dir` holds results by task key beside the blobs.
  JobRunner(const ResolvedJob& job, LocalBlobStore& blobs, std::string work_dir, ModelSources models)
      : job_(job), blobs_(blobs), work_dir_(std::move(work_dir)), models_(std::move(models)) {}

  // `report(label, done, total)` is called after every task.
  absl::Status Run(const std::function<void(const std::string& label, size_t done, size_t total)>& report);

  // The output of a finished task. NOT_FOUND.
  absl::StatusOr<Digest> Output(const std::string& label, const std::string& role) const;
  const std::map<std::string, FinishedTask>& tasks() const { return finished_; }

 private:
  absl::Status RunOne(const PlannedTask& task);
  absl::StatusOr<std::vector<BlobRef>> ResolveInputs(const PlannedTask& task) const;
  bool LoadResult(const std::string& key, FinishedTask& task);
  absl::Status SaveResult(const std::string& key, const std::vector<BlobRef>& outputs);

  const ResolvedJob& job_;
  LocalBlobStore& blobs_;
  const std::string work_dir_;
  const ModelSources models_;
  std::map<std::string, FinishedTask> finished_;
};

}  // namespace quantmoe
