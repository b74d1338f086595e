#include "plan/job/job_spec.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "plan/allocate/runtime_profile.h"
#include "plan/heuristics/heuristic_checks.h"
#include "sources/model_uri.h"

namespace quantmoe {
namespace {

constexpr std::array<absl::string_view, 11> kBenchmarks = {
    "arc_challenge", "arc_easy",   "boolq", "copa",     "hellaswag", "lambada_openai",
    "mmlu",          "openbookqa", "piqa",  "wikitext", "winogrande"};
constexpr int kMaxSamples = 1 << 20;
constexpr int kMaxShardSequences = 4096;
constexpr int kMaxRanks = 1024;
constexpr int kMaxRounds = 64;
constexpr int kMaxTrials = 1024;

// Collects violations with the path of their field.
class Violations {
 public:
  void Add(std::string field, std::string description) {
    found_.push_back({std::move(field), std::move(description)});
  }
  // The value of `field` must be in [min, max].
  template <typename T>
  void InRange(const std::string& field, T value, T min, T max) {
    if (!(value >= min && value <= max)) {
      Add(field, absl::StrCat("is ", value, ", must be in [", min, ", ", max, "]"));
    }
  }
  void Append(std::vector<FieldViolation> more) {
    std::move(more.begin(), more.end(), std::back_inserter(found_));
  }
  std::vector<FieldViolation> Take() { return std::move(found_); }

 private:
  std::vector<FieldViolation> found_;
};

void CheckModel(const JobSpec& spec, Violations& violations) {
  if (spec.model_uri.empty()) return violations.Add("spec.model.uri", "is missing");
  const absl::StatusOr<ModelUri> uri = ParseModelUri(spec.model_uri);
  if (!uri.ok()) violations.Append(GetErrorInfo(uri.status()).violations);
}

void CheckBudgetFields(const Budget& budget, Violations& violations) {
  if (budget.members_set() != 1) {
    return violations.Add("spec.budget",
                          "exactly one of average_bits, max_bytes, stored_bits and rank_bytes must be set");
  }
  if (budget.average_bits && !(*budget.average_bits > 0 && *budget.average_bits <= 8)) {
    violations.Add("spec.budget.average_bits",
                   absl::StrCat("is ", *budget.average_bits, ", must be in (0, 8]"));
  }
  if (budget.stored_bits && !(*budget.stored_bits > 0 && *budget.stored_bits <= 16)) {
    violations.Add("spec.budget.stored_bits",
                   absl::StrCat("is ", *budget.stored_bits, ", must be in (0, 16]"));
  }
  const auto positive = [&violations](const char* field, int64_t bytes) {
    if (bytes <= 0) violations.Add(field, absl::StrCat("is ", bytes, ", must be positive"));
  };
  if (budget.max_bytes) positive("spec.budget.max_bytes", *budget.max_bytes);
  if (budget.rank_bytes) {
    positive("spec.budget.rank_bytes.max_bytes", budget.rank_bytes->max_bytes);
    violations.InRange("spec.budget.rank_bytes.ranks", budget.rank_bytes->ranks, 1, kMaxRanks);
  }
}

const RuntimeProfile* CheckProfile(const JobSpec& spec, Violations& violations) {
  const RuntimeProfile* profile = FindProfile(spec.runtime_profile);
  if (profile == nullptr) {
    violations.Add("spec.runtime_profile", UnknownProfile(spec.runtime_profile));
  }
  return profile;
}

void CheckGptq(const GptqSpec& gptq, const RuntimeProfile* profile, Violations& violations) {
  const RuntimeProfile& any = FreeProfile();
  const RuntimeProfile& limits = profile != nullptr ? *profile : any;
  const auto has = [](const std::vector<int>& list, int value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  if (gptq.group_size != 0 && !has(limits.group_sizes, gptq.group_size)) {
    violations.Add("spec.gptq.group_size", absl::StrCat("is ", gptq.group_size, ", must be 0 or one of ",
                                                        absl::StrJoin(limits.group_sizes, ", ")));
  }
  if (limits.symmetric_only && gptq.scales == ScaleRule::kSigned) {
    violations.Add("spec.gptq.scales",
                   absl::StrCat("signed scales need zero points that ", limits.name, " cannot load"));
  }
  std::set<int> seen;
  for (size_t i = 0; i < gptq.widths.size(); ++i) {
    const std::string field = absl::StrCat("spec.gptq.widths[", i, "]");
    const int width = gptq.widths[i];
    if (!has(any.widths, width)) {
      violations.Add(field, absl::StrCat("is ", width, ", must be one of ", absl::StrJoin(any.widths, ", ")));
    } else if (!seen.insert(width).second) {
      violations.Add(field, absl::StrCat("repeats ", width));
    }
  }
  if (CandidateWidths(gptq.widths, limits).empty()) {
    violations.Add("spec.gptq.widths", absl::StrCat("has none of ", absl::StrJoin(limits.widths, ", "),
                                                    ", which the profile ", limits.name, " can load"));
  }
  violations.InRange("spec.gptq.damp", gptq.damp, 1e-9, 1.0);
  violations.InRange("spec.gptq.min_tokens_ratio", gptq.min_tokens_ratio, 0.0, 1000.0);
  violations.InRange("spec.gptq.max_fallback_ratio", gptq.max_fallback_ratio, 0.0, 1.0);
  violations.InRange("spec.gptq.shrinkage", gptq.shrinkage, 0.0, 100.0);
  violations.InRange("spec.gptq.correction", gptq.correction, 0.0, 1.0);
}

void CheckDigest(const std::string& field, const Digest& digest, bool required, Violations& violations) {
  if (digest.sha256.empty()) {
    if (required) violations.Add(field, "is missing");
    return;
  }
  if (!IsSha256(digest.sha256)) {
    violations.Add(field + ".sha256", "is not 64 lower-case hexadecimal characters");
  }
  if (digest.size_bytes < 0) violations.Add(field + ".size_bytes", absl::StrCat("is ", digest.size_bytes));
}

void CheckCalibration(const CalibrationSpec& calibration, Violations& violations) {
  CheckDigest("spec.calibration.text", calibration.text, /*required=*/false, violations);
  violations.InRange("spec.calibration.samples", calibration.samples, 1, kMaxSamples);
  violations.InRange("spec.calibration.sequence_length", calibration.sequence_length, 0, 1 << 24);
  violations.InRange("spec.calibration.shard_sequences", calibration.shard_sequences, 1, kMaxShardSequences);
}

void CheckEvaluation(const EvaluationSpec& evaluation, Violations& violations) {
  CheckDigest("spec.evaluation.perplexity_text", evaluation.perplexity_text, /*required=*/false, violations);
  violations.InRange("spec.evaluation.window", evaluation.window, 0, 1 << 24);
  if (evaluation.window == 1)
    violations.Add("spec.evaluation.window", "is 1; a window predicts from its second token");
  std::set<std::string> seen;
  for (size_t i = 0; i < evaluation.tasks.size(); ++i) {
    const BenchmarkTaskSpec& task = evaluation.tasks[i];
    const std::string field = absl::StrCat("spec.evaluation.tasks[", i, "]");
    if (std::find(kBenchmarks.begin(), kBenchmarks.end(), task.name) == kBenchmarks.end()) {
      violations.Add(field + ".name", absl::StrCat("\"", task.name.substr(0, 80), "\" is unknown; known are ",
                                                   absl::StrJoin(kBenchmarks, ", ")));
    } else if (!seen.insert(task.name).second) {
      violations.Add(field + ".name", absl::StrCat("repeats ", task.name));
    }
    CheckDigest(field + ".data", task.data, /*required=*/true, violations);
    CheckDigest(field + ".fewshot_data", task.fewshot_data, /*required=*/false, violations);
    if (task.limit < 0) violations.Add(field + ".limit", absl::StrCat("must not be negative: ", task.limit));
  }
}

void CheckRefinement(const RefinementSpec& refinement, Violations& violations) {
  violations.InRange("spec.refinement.rounds", refinement.rounds, 0, kMaxRounds);
  violations.InRange("spec.refinement.trials", refinement.trials, 0, kMaxTrials);
  if (refinement.rounds == 0 && refinement.trials > 0)
    violations.Add("spec.refinement.trials", "needs spec.refinement.rounds");
}

}  // namespace

absl::string_view StateTypeName(StateType type) { return type == StateType::kF32 ? "f32" : "bf16"; }

absl::StatusOr<StateType> ParseStateType(absl::string_view name) {
  for (const StateType type : {StateType::kF32, StateType::kBF16}) {
    if (StateTypeName(type) == name) return type;
  }
  return absl::InvalidArgumentError(absl::StrCat("states \"", name, "\" are unknown; known are f32, bf16"));
}

absl::string_view PropagationName(Propagation propagation) {
  return propagation == Propagation::kQuantized ? "quantized" : "original";
}

absl::StatusOr<Propagation> ParsePropagation(absl::string_view name) {
  for (const Propagation propagation : {Propagation::kOriginal, Propagation::kQuantized}) {
    if (PropagationName(propagation) == name) return propagation;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("propagation \"", name, "\" is unknown; known are original, quantized"));
}

const RuntimeProfile& ProfileOf(const JobSpec& spec) {
  const RuntimeProfile* profile = FindProfile(spec.runtime_profile);
  return profile != nullptr ? *profile : FreeProfile();
}

const Heuristic& HeuristicOf(const JobSpec& spec) { return *FindHeuristic(spec.heuristic); }

std::vector<int> PlanWidths(const JobSpec& spec) {
  std::vector<int> widths = CandidateWidths(spec.gptq.widths, ProfileOf(spec));
  const auto found = spec.heuristic_params.find("floor");
  int floor = 0;
  if (found != spec.heuristic_params.end() && absl::SimpleAtoi(found->second, &floor)) {
    widths.erase(widths.begin(), std::lower_bound(widths.begin(), widths.end(), floor));
  }
  return widths;
}

std::vector<FieldViolation> CheckJobSpec(const JobSpec& spec) {
  Violations violations;
  CheckModel(spec, violations);
  CheckBudgetFields(spec.budget, violations);
  const RuntimeProfile* profile = CheckProfile(spec, violations);
  violations.Append(CheckHeuristic(spec.heuristic, spec.heuristic_params,
                                   CandidateWidths(spec.gptq.widths, ProfileOf(spec))));
  violations.Append(CheckRules(spec.rules));
  CheckGptq(spec.gptq, profile, violations);
  CheckCalibration(spec.calibration, violations);
  CheckEvaluation(spec.evaluation, violations);
  CheckRefinement(spec.refinement, violations);
  return violations.Take();
}

}  // namespace quantmoe
