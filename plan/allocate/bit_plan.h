// A plan: a width for every linear, with the figures that justify it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include <nlohmann/json_fwd.hpp>

#include "plan/allocate/allocation_problem.h"
#include "plan/allocate/distortion_table.h"
#include "plan/allocate/tail_figures.h"
#include "plan/model/linears.h"
#include "storage/digest.h"

namespace quantmoe {

struct PlannedLinear {
  Linear linear;
  int width = 0;
  Digest blob;      // holds the packed tensors of this linear at this width
  double loss = 0;  // at this width, in the unit of the plan's `objective`
  std::string method;
  std::string fallback;
  // Every group has the zero point 2^(width-1) in the file; a linear whose scales may be negative has not.
  bool symmetric = true;
};

// How a search by measurement changed a plan. Divergences are mean KL divergences of the predicted tokens
// from the original model's, in nats, on calibration text that no solve used.
struct Refinement {
  int rounds = 0;
  int trials = 0;    // plans that were measured
  int accepted = 0;  // of them better than all before
  double divergence_before = 0;
  double divergence_after = 0;
  int64_t sequences = 0;  // of the sample
  int64_t tokens = 0;
};

// The down projections of super experts in a plan.
struct PlanProtection {
  int linears = 0;
  double weights_share = 0;  // of all quantized weights
  double bits = 0;           // what they take of the average bits of the plan

  friend bool operator==(const PlanProtection&, const PlanProtection&) = default;
};

// How a plan did against the uniform plan of the same budget, on text that neither a solve nor its search
// used.
struct PlanVerdict {
  std::string heuristic;  // of the plan
  TailFigures plan, uniform;
  // Of the difference of their means, plan less uniform: an interval of 95 % confidence.
  double low = 0, high = 0;
  int64_t windows = 0, tokens = 0;  // of the sample
  bool unseen = true;               // by solves; false where the calibration text is too short for both
  bool plan_wins = false;           // surely less in the mean, and no more broken windows
  bool plan_published = false;      // else the uniform one

  friend bool operator==(const PlanVerdict&, const PlanVerdict&) = default;
};

struct BitPlan {
  std::string heuristic;
  std::string profile;
  int group_size = 0;
  std::vector<PlannedLinear> linears;  // sorted by (layer, part order)
  double average_bits = 0;             // QuantMoE-Bench's definition
  double stored_bits = 0;              // with scales, zeros and g_idx
  int64_t weight_file_bytes = 0;       // predicted size of all weight files, to the byte
  std::string objective = "measured";  // which loss is added up (plan/allocate/loss.h)
  double loss = 0;                     // sum over linears; the key `distortion` of documents
  double lower_bound = 0;              // no plan in the budget has less; 0 when the heuristic gives none
  // What the same heuristic reaches in the same budget without the profile's constraints; 0 when it has none.
  double unconstrained_loss = 0;
  int64_t rank_bytes = 0;  // tensors of the fullest expert-parallel rank; 0 unless the budget is per rank
  double fallback_ratio = 0;
  std::optional<PlanRisk> risk;  // unset: windows were not weighed
  PlanProtection protection;     // nothing where the model has no super experts or they are not protected
  std::optional<Refinement> refined;   // unset: not refined
  std::optional<PlanVerdict> verdict;  // unset: not judged
};

// Whether two plans of one table are the same: widths are all that they can differ in.
bool SameWidths(const BitPlan& a, const BitPlan& b);

// Canonical JSON (sorted keys), both ways. INVALID_ARGUMENT says what is wrong.
std::string BitPlanToJson(const BitPlan& plan);
absl::StatusOr<BitPlan> BitPlanFromJson(absl::string_view json);
nlohmann::json RefinementJson(const Refinement& refined);
nlohmann::json RiskJson(const PlanRisk& risk);
nlohmann::json VerdictJson(const PlanVerdict& verdict);
nlohmann::json ProtectionJson(const PlanProtection& protection);

}  // namespace quantmoe
