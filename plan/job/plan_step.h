// The next plan of the search around one that was measured. What it costs to move a group of a layer one
// width up or down was measured on a sample; between the groups losses are taken to add up, and within a
// group to go with the block errors. That is true near the plan only, so no more than a share of the cost may
// change hands in one step: a trust region (Conn, Gould and Toint, "Trust-Region Methods", SIAM 2000).
//
// Pure and deterministic.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/allocate/bit_plan.h"
#include "plan/allocate/rank_knapsack.h"
#include "plan/heuristics/budgeted_allocation.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

// Mean divergences of each window of the sample from the original model, in nats a token, with one group of a
// layer moved; empty where no linear of it could move.
struct MovedGroup {
  std::vector<double> raised;   // every linear at the next larger solved width
  std::vector<double> lowered;  // at the next smaller one
};
// By layer and PartTable::ProbeGroup.
using MovedGroups = std::map<std::pair<int, std::string>, MovedGroup>;

// As the output `sensitivity` of a probe: moves by name, "raised.experts" and the like.
std::string MoveName(absl::string_view group, bool raised);
// INVALID_ARGUMENT for another name.
absl::Status AddMove(int layer, absl::string_view name, std::vector<double> windows, MovedGroups& groups);

// How much of the cost may change hands, and what became of the steps so far; passed from round to round.
struct SearchState {
  double region = 0.1;  // a share of the capacity of all ranks

  // A step that kept its promise widens the region, one that did not halves it. Changes of the divergence.
  void Learn(double predicted, double measured, bool accepted);
};
std::string SearchStateToJson(const SearchState& state);
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<SearchState> SearchStateFromJson(absl::string_view json);

struct ProposedPlan {
  BitPlan plan;
  double predicted = 0;  // change of the mean divergence, negative
};

class PlanStep {
 public:
  // `spec` as for Allocate; `table` and `kept` must outlive the step. `plan` is of that table and within the
  // budget, and diverges by `windows`. Errors as of Allocate; INVALID_ARGUMENT when plan and table do not
  // belong together, or when the measurements have other windows.
  static absl::StatusOr<PlanStep> Start(const DistortionTable& table, const JobSpec& spec,
                                        const std::vector<TensorInfo>& kept, const BitPlan& plan,
                                        const std::vector<double>& windows, const MovedGroups& moved);

  // The plan that promises the least divergence among those within budget, rules, profile and region. Empty
  // when no other promises less than the plan itself.
  std::optional<ProposedPlan> Propose(double region) const;

 private:
  // Nats of the divergence for one unit of loss, above and below the plan: as the one-shot probes say where
  // nothing was measured around it.
  struct Slope {
    double raised = 1, lowered = 1;
  };
  using Slopes = std::map<std::pair<int, std::string>, Slope>;

  PlanStep(AllocationInputs inputs, AllocationProblem problem, const JobSpec& spec, const BitPlan& plan,
           std::vector<int> widths);
  absl::Status SetLevels();
  double LossOfMove(const std::pair<int, std::string>& group, bool raised) const;
  Slopes MeasuredSlopes(const std::vector<double>& windows, const MovedGroups& moved) const;
  void SetValues(const Slopes& slopes);
  std::vector<RankGroup> PenalizedGroups(double penalty) const;
  std::optional<std::vector<int>> Solve(double penalty, int64_t capacity) const;
  std::optional<std::vector<int>> SolveWithin(int64_t change, int64_t capacity) const;
  int64_t ChangeOfGroup(size_t group, int level) const;
  int64_t ChangeOf(const std::vector<int>& levels) const;
  ProposedPlan Describe(const std::vector<int>& levels) const;

  AllocationInputs inputs_;
  AllocationProblem problem_;
  JobSpec spec_;
  std::vector<ChoiceGroup> groups_;  // values: predicted change of the divergence
  const std::vector<int> widths_;    // of the plan, by row
  std::vector<int> levels_;          // of the plan, by group
  double lower_bound_ = 0, unconstrained_loss_ = 0;
};

}  // namespace quantmoe
