// What a job is asked to do, without protobuf: the same struct drives the service and quantmoe-local. Proto
// fields of the same name document the meaning (proto/quantmoe/v1/types.proto).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/error_info.h"
#include "plan/allocate/budget.h"
#include "plan/allocate/column_order.h"
#include "plan/allocate/runtime_profile.h"
#include "plan/allocate/scale_rule.h"
#include "plan/allocate/width_rules.h"
#include "plan/heuristics/heuristic.h"
#include "plan/model/linears.h"
#include "plan/model/model_spec.h"
#include "sources/checkpoint.h"
#include "sources/model_sources.h"
#include "storage/digest.h"

namespace quantmoe {

// Whose outputs calibrate a layer. Original: those of the original layers before it, so all layers solve at
// once and another budget costs no new solve. Quantized: after the allocation a second pass solves layer
// after layer on what the quantized layers before it give.
enum class Propagation { kOriginal, kQuantized };
absl::string_view PropagationName(Propagation propagation);  // "original", "quantized"
absl::StatusOr<Propagation> ParsePropagation(absl::string_view name);

// In which type the activations of calibration travel from task to task. All arithmetic is f32; bf16 halves
// what is stored and sent, and rounds the stream after every layer.
enum class StateType { kF32, kBF16 };
absl::string_view StateTypeName(StateType type);  // "f32", "bf16"
absl::StatusOr<StateType> ParseStateType(absl::string_view name);

// Unset members mean defaults that ResolveJob fills in.
struct GptqSpec {
  int group_size = 0;       // 0: largest of 128, 64, 32 that divides every input width
  std::vector<int> widths;  // that are solved; empty: 2, 3, 4, 8. The profile chooses among them
  double damp = 0.01;
  ColumnOrder order = ColumnOrder::kActivation;
  ScaleRule scales = ScaleRule::kAuto;
  double min_tokens_ratio = 0.25;
  double max_fallback_ratio = 0.25;
  bool gate_weighted = false;  // tokens count for an expert by the square of their router weight
  double shrinkage = 0;        // pull of a cold expert's Hessian toward its layer's, in tokens a channel
  // Patterns (width_rules.h) of experts that all tokens of their layer calibrate, routed to them or not.
  std::vector<std::string> all_tokens;
  Propagation propagation = Propagation::kOriginal;
  double correction =
      1;  // quantized pass: share of the drift of its inputs that a linear makes up for, 0 to 1
};

struct CalibrationSpec {
  Digest text;  // always set once the spec is resolved
  int samples = 128;
  int sequence_length = 0;  // 0: min(2048, context)
  int shard_sequences = 8;
  StateType states = StateType::kF32;
};

struct BenchmarkTaskSpec {
  std::string name;
  Digest data;
  Digest fewshot_data;  // empty sha256: none
  int64_t limit = 0;    // only the first so many items; 0: all
};

struct EvaluationSpec {
  bool skip = false;
  Digest perplexity_text;
  int window = 0;
  std::vector<BenchmarkTaskSpec> tasks;
  std::optional<bool> add_bos;
};

// Search for a better plan by measuring plans (docs/heuristics.md). Off with no rounds.
struct RefinementSpec {
  int rounds = 0;
  int trials = 0;  // plans measured in a round; 0: 16
};

struct JobSpec {
  std::string model_uri;
  Budget budget;
  std::string heuristic;
  std::map<std::string, std::string> heuristic_params;
  GptqSpec gptq;
  CalibrationSpec calibration;
  EvaluationSpec evaluation;
  std::string runtime_profile = "gptqmodel";
  std::vector<WidthRule> rules;
  RefinementSpec refinement;
};

// A spec with its model opened and every default filled in: what tasks are planned from.
struct ResolvedJob {
  JobSpec spec;
  ModelSpec model;
  std::vector<Part> parts;
  std::string model_fingerprint;
  std::string model_digest;  // Checkpoint::header_digest
  int64_t original_bytes = 0;
  int64_t read_bytes = 0;  // the most that is read from the checkpoint at once for one linear
  SizeBounds sizes;        // of the artifact's weight files
};

// The record of the spec's profile; FreeProfile() when CheckJobSpec would refuse its name.
const RuntimeProfile& ProfileOf(const JobSpec& spec);

// The record of the spec's heuristic; CheckJobSpec must have accepted its name.
const Heuristic& HeuristicOf(const JobSpec& spec);

// What a plan may use: the candidate widths from the heuristic's floor on, ascending.
std::vector<int> PlanWidths(const JobSpec& spec);

// All violations of the fields that can be judged without the model. Field paths start with "spec.".
std::vector<FieldViolation> CheckJobSpec(const JobSpec& spec);

// Opens nothing itself: checks `spec` against an opened checkpoint (config, tensors, group size, budget
// bounds) and fills in defaults. INVALID_FIELD with all violations, MODEL_INVALID, MODEL_UNSUPPORTED,
// FAILED_PRECONDITION BIT_BUDGET_INFEASIBLE {minimum, maximum, asked}.
absl::StatusOr<ResolvedJob> ResolveJob(JobSpec spec, const Checkpoint& checkpoint,
                                       absl::string_view config_json);

// OpenModel, read config.json, ResolveJob: the whole way from a spec to a ResolvedJob. Its URI is pinned
// (ModelDirectory::uri), so that every worker reads the same bytes.
absl::StatusOr<ResolvedJob> OpenJob(JobSpec spec, const ModelSources& models);

// Canonical JSON (sorted keys), both ways; used for storage and for request hashes.
std::string JobSpecToJson(const JobSpec& spec);
absl::StatusOr<JobSpec> JobSpecFromJson(absl::string_view json);

}  // namespace quantmoe
