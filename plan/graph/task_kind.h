// The kinds of task, and the key under which a result is found again.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "storage/digest.h"

namespace quantmoe {

enum class TaskKind {
  kPrepare,
  kForward,
  kSolve,
  kProbe,
  kPredict,
  kAllocate,
  kRefine,
  kVerdict,
  kReSolve,
  kAssemble,
  kEvaluate,
  kPublish
};
absl::string_view TaskKindName(TaskKind kind);
// Whether a job that has ended still shows this output: its plans, table and scores. All others live as long
// as the cache of results wants them.
bool IsKeptAfterJob(TaskKind kind, absl::string_view role);
const std::vector<TaskKind>& AllTaskKinds();  // in the order of a job
// INVALID_ARGUMENT for any other name.
absl::StatusOr<TaskKind> ParseTaskKind(absl::string_view name);

struct BlobRef {
  std::string role;
  Digest digest;
};

// SHA-256 over kind, params and the role and digest of every input: equal keys have equal results.
// `determinism_class` is part of it, because hardware may change bytes.
std::string TaskKey(TaskKind kind, absl::string_view params_json, const std::vector<BlobRef>& inputs,
                    absl::string_view determinism_class);

}  // namespace quantmoe
