// The outcome of several plans of one model: their figures, what they are called, which is best and what a
// uniform plan of the same budget would be worth. `quantmoe compare` reads it from the reports of jobs,
// `quantmoe-local compare` from artifacts; how it is shown is theirs. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include <nlohmann/json_fwd.hpp>

namespace quantmoe {

// One score of two sets of weights that were asked the same items; [low, high] is the 95 % interval of
// after - before by paired bootstrap.
struct MeasuredChange {
  std::string task;
  std::string metric;
  double before = 0;
  double after = 0;
  double low = 0;
  double high = 0;
};

// How far a plan is from the original model: KL divergences of the predicted tokens, in nats a token.
struct MeasuredDivergence {
  double mean = 0;
  double cvar = 0;  // of the worst tenth of the windows
  double worst_window = 0;
  double percentile_99 = 0, percentile_999 = 0;  // of single tokens
  int64_t broken_windows = 0;                    // above ten times the median window
  int64_t top1_flips = 0;                        // tokens with another first choice
  int64_t tokens = 0;
  bool unseen = true;  // by solves; false where the calibration text is too short for both
};

struct ComparedJob {
  std::string heuristic;  // as asked, with its parameters
  std::string budget;     // as asked, with its unit: "2.5 bits"
  std::string job;        // `jobs/{job}`; empty when it was refused
  std::string failure;    // why there are no figures; empty: there are

  std::string plan;  // what the plan is called (NamePlans)
  int width = 0;     // of all linears; 0: several
  double average_bits = 0;
  int64_t weight_file_bytes = 0;
  double loss = 0;  // predicted; comparable where the objective is the same
  std::string objective;
  std::map<std::string, int> widths;         // of each linear
  std::optional<MeasuredChange> perplexity;  // from the original weights
  std::vector<MeasuredChange> benchmarks;    // likewise
  // How perplexity changes from the largest uniform plan within the budget to this plan. `verdict` is which
  // of the two that favours: "plan", "uniform" or "either". Unset for uniform plans.
  std::optional<MeasuredChange> against_uniform;
  int64_t uniform_bytes = 0;
  int uniform_bits = 0;
  std::string verdict;
  // Of the published widths with the tensors of the first pass, on text that the plan has not used. Unset:
  // not measured.
  std::optional<MeasuredDivergence> divergence;

  int tasks = 0;
  int reused = 0;             // tasks whose result was there already
  double worker_seconds = 0;  // spent for this job alone
  double wall_seconds = 0;    // from its start to its end; jobs of a comparison run beside each other
  bool best = false;          // of its budget
};

struct Comparison {
  std::string model;
  int64_t original_bytes = 0;  // weight files; 0: no job told
  std::vector<ComparedJob> jobs;
  // The loss of each linear, by name, at each width, from the report of the first job of `optimal`: no other
  // report scales losses by what an error of the layer costs at the output. Empty without such a job.
  std::map<std::string, std::map<int, double>> losses;
  std::string objective;  // of `losses`
};

// Takes the figures of a job that ended from its report. DATA_LOSS for what is no report.
absl::Status ReadReport(absl::string_view job, absl::string_view report_json, ComparedJob& compared,
                        Comparison& comparison);

// Takes them from the plan and the scores of an artifact (docs/formats.md, section 4). Empty `scores_json`:
// nothing was measured. DATA_LOSS for what is no plan or no scores.
absl::Status ReadArtifactFigures(absl::string_view plan_json, absl::string_view scores_json,
                                 ComparedJob& compared);

// Puts the losses of all plans on one scale, that of `losses`; without it they stay as they are.
void AlignLosses(Comparison& comparison);

// Calls each plan what it is: by its heuristic, a uniform one as UniformLabel does.
void NamePlans(Comparison& comparison);
// The same of the uniform plan that the job was measured against.
std::string ReferenceName(const ComparedJob& job);

// Marks the job with the lowest perplexity of every budget; without any perplexity, the one with the lowest
// predicted loss, where all losses of the budget have one objective. Equal figures are all marked, and a
// budget with one job has no best.
void MarkBest(Comparison& comparison);

nlohmann::ordered_json DivergenceJson(const MeasuredDivergence& divergence);

// One document; docs/formats.md has its keys.
std::string ComparisonJson(const Comparison& comparison);

}  // namespace quantmoe
