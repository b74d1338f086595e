// What a job will need, told before any work starts: from shapes, headers and the spec alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/graph/task_graph.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

struct StageNeeds {
  int tasks = 0;
  double work = 0;  // plan/graph/task_work.h
};

struct JobEstimate {
  int64_t original_bytes = 0;   // weight files of the model
  SizeBounds sizes;             // of the artifact's weight files
  int64_t budget_bytes = 0;     // the same when the budget is used up
  int64_t predicted_bytes = 0;  // the same of the plan
  bool bytes_exact = false;     // true when nothing that is to be measured decides
  int64_t quantized_linears = 0;
  int64_t worker_memory_bytes = 0;
  int64_t calibration_tokens = 0;
  int64_t tokens_per_expert = 0;  // on average; 0 without experts
  std::map<TaskKind, StageNeeds> stages;
  std::vector<std::string> warnings;

  int tasks() const;
};

// Tasks, tokens, memory and warnings; what the plan takes is left 0. Evaluation is counted at four bytes a
// token of text.
JobEstimate EstimateWork(const ResolvedJob& job);

// That and what the plan takes. Errors as of Allocate.
absl::StatusOr<JobEstimate> EstimateNeeds(const ResolvedJob& job);

}  // namespace quantmoe
