// One task of a job before it runs, and what says which one it is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "plan/graph/task_kind.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

// An input of a task: a blob known now, or an output of another task of the job.
struct TaskInput {
  std::string role;
  Digest blob;                // when `producer` is empty
  std::string producer;       // label of a task
  std::string producer_role;  // which of its outputs
};

// What a forward task runs of its layer; halves are tasks of the second pass.
enum class LayerHalf { kBoth, kAttention, kFeedForward };

// Which task of its kind one is. Members that its kind does not look at stay as they are.
struct TaskPlace {
  int layer = -1;
  LayerHalf half = LayerHalf::kBoth;
  const Part* part = nullptr;
  int number = 0;                  // shard of calibration or evaluation, or round of the search
  bool sample = false;             // of a forward task: its shard is the sample of the probes
  int shards = 0;                  // all of calibration, or of evaluation for `publish`
  absl::string_view weights = "";  // that an evaluation scores: "original", "planned" or "reference"
};

struct TaskDefinition {
  // Unique in the job: "prepare", "forward-l3-s2", "solve-l3-p1", "evaluate-original-0", ...
  std::string label;
  TaskKind kind = TaskKind::kPrepare;
  std::string params_json;  // canonical; with the inputs' digests it decides the result
  std::vector<TaskInput> inputs;
  int64_t memory_bytes = 0;  // upper estimate of what the task holds at once
  double work = 0;           // plan/graph/task_work.h
};

// Windows of calibration text that no solve uses, of StartLength tokens: so many for the search of a plan,
// and so many others for the verdict on it.
inline constexpr int64_t kSampleWindows = 64;
// Those of the search that probes look at.
inline constexpr int64_t kProbeWindows = 32;
// Plans that a round of the search measures at most.
inline constexpr int kStepTries = 4;
// Inner width of QuantMoE-Bench's block importance predictor.
inline constexpr int64_t kPredictorWidth = 1024;

TaskInput FromBlob(std::string role, const Digest& blob);
TaskInput FromTask(std::string role, std::string producer, std::string producer_role);

// Tasks of which a job has one.
inline constexpr char kPrepareLabel[] = "prepare";
inline constexpr char kAllocateLabel[] = "allocate";
inline constexpr char kVerdictLabel[] = "verdict";
inline constexpr char kAssembleLabel[] = "assemble";
inline constexpr char kPublishLabel[] = "publish";
std::string ForwardLabel(int layer, int shard);
std::string AttendLabel(int layer, int shard);
std::string FeedLabel(int layer, int shard);
std::string SolveLabel(const Part& part);
std::string ReSolveLabel(const Part& part);
// Round 0 probes the original model.
std::string ProbeLabel(int layer, int round = 0);
std::string PredictLabel(int layer);
// Round 0 chooses where the search starts.
std::string RefineLabel(int round);
std::string EvaluateLabel(absl::string_view weights, int shard);

// The task whose plan allocation and search found, with the tensors of the first pass.
std::string FoundPlanLabel(int search_rounds);

}  // namespace quantmoe
