// Which plan to measure next. Predicted losses are wrong by factors that nobody knows beforehand, and wrong
// alike for linears of one layer and kind: a *stratum*. The search keeps for every stratum an estimate of its
// factor, with its uncertainty, proposes exchanges of bytes that would pay by factors drawn from these
// estimates (Thompson, Biometrika 25, 1933), and corrects the estimates by what each measured exchange did (a
// Kalman step).
//
// Pure and deterministic: numbers come from SplitMix64, and equal measurements give equal proposals.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "plan/job/job_allocation.h"

namespace quantmoe {

// What a search has learned; passed from round to round.
struct SearchState {
  struct Factor {
    double mean = 1;
    double variance = 0;
  };
  std::vector<Factor>
      factors;  // of the strata, in the order of their first linears; empty before the first trial
  std::vector<uint64_t> tried;  // fingerprints of the plans that were proposed
  uint64_t random = 0;
};
std::string SearchStateToJson(const SearchState& state);
// INVALID_ARGUMENT says what is wrong.
absl::StatusOr<SearchState> SearchStateFromJson(absl::string_view json);

class PlanSearch {
 public:
  // `spec` as for Allocate; `table` and `kept` must outlive the search. `plan` is of that table and within
  // the budget; `divergence` is what it measured. `rivals` are plans to measure before any exchange; those
  // that do not fit are passed over. Errors as of Allocate; INVALID_ARGUMENT when plan and table do not
  // belong together.
  static absl::StatusOr<PlanSearch> Start(const DistortionTable& table, const JobSpec& spec,
                                          const std::vector<TensorInfo>& kept, const BitPlan& plan,
                                          double divergence, SearchState state,
                                          const std::vector<BitPlan>& rivals);

  // The next plan to measure: within the budget, rules and profile, and never proposed before. Empty when
  // there is none.
  std::optional<BitPlan> Propose();

  // The mean that the proposed plan measured. True when it is better and `acceptable` in its tails: then
  // further trials start from it.
  bool Learn(double divergence, bool acceptable = true);

  double divergence() const { return divergence_; }
  const SearchState& state() const { return state_; }

 private:
  // A group that goes from its level to another one.
  struct Step {
    size_t group = 0;
    int level = 0;
    double value = 0;  // change of the loss, by drawn factors
    int64_t cost = 0;
    double rate = 0;  // loss for each unit of cost: saved by a raise, given by a reduction
  };
  struct Exchange {
    std::map<size_t, int> levels;
    double value = 0;
  };
  // The best raise and the best reduction of every group under drawn factors, best first.
  struct Steps {
    std::vector<Step> raises, reductions;
  };

  PlanSearch(AllocationInputs inputs, AllocationProblem problem, const JobSpec& spec)
      : inputs_(std::move(inputs)), problem_(std::move(problem)), spec_(spec) {}

  absl::StatusOr<std::vector<int>> LevelsOf(const BitPlan& plan) const;
  std::vector<int64_t> RoomOf(const std::vector<int>& levels) const;
  void InitializeFactors();
  std::vector<double> DrawFactors();
  Steps ListSteps(const std::vector<double>& factors) const;
  std::optional<Step> BestStep(size_t group, double factor, bool raise) const;
  Exchange Begin(const std::vector<Step>& steps, size_t stratum, size_t count,
                 std::vector<int64_t>& room) const;
  static void Take(const Step& step, Exchange& exchange);
  void Spend(const Step& step, std::vector<int64_t>& room) const;
  bool Pays(const Step& step, const std::vector<int64_t>& room) const;
  bool Fits(const Step& step, const std::vector<int64_t>& room) const;
  bool Balance(const Steps& steps, Exchange& exchange, std::vector<int64_t>& room) const;
  std::optional<Exchange> BestExchange(const Steps& steps) const;
  std::vector<int> Apply(const Exchange& exchange) const;
  uint64_t Fingerprint(const std::vector<int>& levels) const;
  uint64_t FingerprintAfter(const Exchange& exchange) const;
  bool FitsFiles(const std::vector<int>& levels) const;
  std::optional<BitPlan> Try(std::vector<int> levels);
  BitPlan Describe(const std::vector<int>& levels) const;

  AllocationInputs inputs_;
  AllocationProblem problem_;
  const JobSpec spec_;
  std::vector<ChoiceGroup> groups_;
  std::vector<size_t> stratum_of_;           // of each group
  std::vector<std::vector<size_t>> strata_;  // groups of each
  std::vector<int> levels_;                  // of the best plan
  double divergence_ = 0;
  double lower_bound_ = 0, unconstrained_loss_ = 0;
  std::vector<std::vector<int>> rivals_;  // still to be measured, last first
  SearchState state_;
  std::unordered_set<uint64_t> tried_;
  std::vector<int> proposed_;
};

}  // namespace quantmoe
