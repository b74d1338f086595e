#include "plan/job/plan_step.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "plan/job/job_allocation.h"
#include "plan/model/json_codec.h"

namespace quantmoe {
namespace {

using nlohmann::json;

constexpr double kLargestRegion = 1, kSmallestRegion = 1e-3;
// A step is trusted when it gives three quarters of what it promised, and not when it gives a quarter (Conn,
// Gould and Toint, section 6.1).
constexpr double kKept = 0.75, kBroken = 0.25;
// Halvings in the search for the penalty that holds a step in its region.
constexpr int kHalvings = 24;
// Of each knapsack of a step: a plan that is not quite the best one is measured before it counts.
constexpr int64_t kStates = 500'000;
// Tries to bring files that are too large by some digits of a header within the budget.
constexpr int kMaxTightenings = 16;

// Of windows that all say the same.
constexpr double kLeastVariance = 1e-30;
// Of the largest variance of a kind, what every slope has at least.
constexpr double kLeastShare = 1e-6;

constexpr absl::string_view kRaised = "raised.", kLowered = "lowered.";

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// A slope with the variance that its windows leave it.
struct NoisySlope {
  double value = 0;
  double variance = 0;
};

NoisySlope SlopeOf(const std::vector<double>& moved, const std::vector<double>& windows, double loss) {
  std::vector<double> slopes;
  for (size_t w = 0; w < windows.size(); ++w) slopes.push_back((moved[w] - windows[w]) / loss);
  NoisySlope slope = {Mean(slopes), 0};
  for (const double value : slopes) slope.variance += (value - slope.value) * (value - slope.value);
  const auto count = static_cast<double>(slopes.size());
  slope.variance /= std::max(count - 1, 1.0) * count;
  return slope;
}

struct Pooled {
  double mean = 0, weights = 0, squares = 0;  // sums of the weights and of their squares
};

Pooled WeightedMean(const std::map<int, NoisySlope>& layers, double between) {
  Pooled pooled;
  for (const auto& [layer, slope] : layers) {
    const double weight = 1 / std::max(slope.variance + between, kLeastVariance);
    pooled.weights += weight;
    pooled.squares += weight * weight;
    pooled.mean += weight * slope.value;
  }
  pooled.mean /= pooled.weights;
  return pooled;
}

// Noisy slopes go towards the mean of their kind, by how much of the spread between layers the noise explains
// (DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 7, 1986).
void ShrinkToMean(std::map<int, NoisySlope>& layers) {
  if (layers.size() < 2) return;
  // Where no window changed, nothing was seen: that says no more than the others do.
  double largest = kLeastVariance;
  for (const auto& [layer, slope] : layers) largest = std::max(largest, slope.variance);
  for (auto& [layer, slope] : layers) slope.variance = std::max(slope.variance, kLeastShare * largest);
  const auto [mean, weights, squares] = WeightedMean(layers, /*between=*/0);
  double spread = 0;
  for (const auto& [layer, slope] : layers)
    spread += (slope.value - mean) * (slope.value - mean) / std::max(slope.variance, kLeastVariance);
  const double degrees = static_cast<double>(layers.size() - 1);
  const double between = std::max(0.0, (spread - degrees) / (weights - squares / weights));
  const double pooled = WeightedMean(layers, between).mean;
  for (auto& [layer, slope] : layers) {
    const double kept = between / std::max(slope.variance + between, kLeastVariance);
    slope.value = pooled + kept * (slope.value - pooled);
  }
}

int64_t CostAt(const ChoiceGroup& group, int level) { return group.options[static_cast<size_t>(level)].cost; }
double ValueAt(const ChoiceGroup& group, int level) {
  return group.options[static_cast<size_t>(level)].value;
}

absl::StatusOr<std::vector<int>> WidthsOf(const BitPlan& plan, const std::vector<Linear>& linears) {
  absl::flat_hash_map<absl::string_view, int> width_of;
  for (const PlannedLinear& planned : plan.linears) width_of[planned.linear.name] = planned.width;
  std::vector<int> widths;
  for (const Linear& linear : linears) {
    const auto found = width_of.find(linear.name);
    if (found == width_of.end())
      return absl::InvalidArgumentError(absl::StrCat("the plan has no width for ", linear.name));
    widths.push_back(found->second);
  }
  return widths;
}

// A uniform plan need not protect super experts: what the rules alone allow, a plan may keep.
absl::Status AllowWidths(const DistortionTable& table, const JobSpec& spec, AllocationInputs inputs,
                         const std::vector<int>& widths, AllocationProblem& problem) {
  inputs.super_experts.clear();
  ASSIGN_OR_RETURN(const AllocationProblem by_rules, MakeProblem(table, spec, inputs));
  for (size_t r = 0; r < widths.size(); ++r) {
    std::vector<int>& allowed = problem.allowed[r];
    const std::vector<int>& wider = by_rules.allowed[r];
    if (std::find(wider.begin(), wider.end(), widths[r]) == wider.end()) continue;
    const auto at = std::lower_bound(allowed.begin(), allowed.end(), widths[r]);
    if (at == allowed.end() || *at != widths[r]) allowed.insert(at, widths[r]);
  }
  return absl::OkStatus();
}

}  // namespace

std::string MoveName(absl::string_view group, bool raised) {
  return absl::StrCat(raised ? kRaised : kLowered, group);
}

absl::Status AddMove(int layer, absl::string_view name, std::vector<double> windows, MovedGroups& groups) {
  const bool raised = absl::StartsWith(name, kRaised);
  if (!raised && !absl::StartsWith(name, kLowered))
    return absl::InvalidArgumentError(absl::StrCat("no move of a group: ", name.substr(0, 80)));
  MovedGroup& group = groups[{layer, std::string(name.substr((raised ? kRaised : kLowered).size()))}];
  (raised ? group.raised : group.lowered) = std::move(windows);
  return absl::OkStatus();
}

void SearchState::Learn(double predicted, double measured, bool accepted) {
  const double kept = predicted < 0 ? measured / predicted : 0;
  if (accepted && kept > kKept) region *= 2;
  if (!accepted || kept < kBroken) region /= 2;
  region = std::clamp(region, kSmallestRegion, kLargestRegion);
}

std::string SearchStateToJson(const SearchState& state) { return json{{"region", state.region}}.dump(); }

absl::StatusOr<SearchState> SearchStateFromJson(absl::string_view text) {
  return DecodeJson<SearchState>(text, "search state", [](const json& value) {
    SearchState state;
    state.region = std::clamp(value.at("region").get<double>(), kSmallestRegion, kLargestRegion);
    return state;
  });
}

PlanStep::PlanStep(AllocationInputs inputs, AllocationProblem problem, const JobSpec& spec,
                   const BitPlan& plan, std::vector<int> widths)
    : inputs_(std::move(inputs)),
      problem_(std::move(problem)),
      spec_(spec),
      groups_(MakeGroups(problem_, Grain::kLinear)),
      widths_(std::move(widths)),
      lower_bound_(plan.lower_bound),
      unconstrained_loss_(plan.unconstrained_loss) {}

absl::StatusOr<PlanStep> PlanStep::Start(const DistortionTable& table, const JobSpec& spec,
                                         const std::vector<TensorInfo>& kept, const BitPlan& plan,
                                         const std::vector<double>& windows, const MovedGroups& moved) {
  for (const auto& [place, group] : moved) {
    for (const std::vector<double>* measured : {&group.raised, &group.lowered}) {
      if (measured->empty() || measured->size() == windows.size()) continue;
      return absl::InvalidArgumentError(absl::StrCat("layer ", place.first, ", ", place.second, " has ",
                                                     measured->size(), " windows, the plan ",
                                                     windows.size()));
    }
  }
  AllocationInputs inputs = MakeInputs(table, spec, kept);
  ASSIGN_OR_RETURN(AllocationProblem problem, MakeProblem(table, spec, inputs));
  ASSIGN_OR_RETURN(std::vector<int> widths, WidthsOf(plan, inputs.linears));
  RETURN_IF_ERROR(AllowWidths(table, spec, inputs, widths, problem));
  SetCosts(spec.budget, inputs, problem);
  PlanStep step(std::move(inputs), std::move(problem), spec, plan, std::move(widths));
  RETURN_IF_ERROR(step.SetLevels());
  step.SetValues(step.MeasuredSlopes(windows, moved));
  return step;
}

absl::Status PlanStep::SetLevels() {
  for (const ChoiceGroup& group : groups_) {
    const int width = widths_[group.rows.front()];
    const auto at = std::find(group.widths.begin(), group.widths.end(), width);
    const bool alike =
        std::all_of(group.rows.begin(), group.rows.end(), [&](size_t row) { return widths_[row] == width; });
    if (at == group.widths.end() || !alike) {
      return absl::InvalidArgumentError(absl::StrCat("the plan gives ",
                                                     inputs_.linears[group.rows.front()].name, " ", width,
                                                     " bits, which rules or profile do not allow"));
    }
    levels_.push_back(static_cast<int>(at - group.widths.begin()));
  }
  return absl::OkStatus();
}

// By how much the losses of the group fall when it is raised, or rise when it is lowered.
double PlanStep::LossOfMove(const std::pair<int, std::string>& group, bool raised) const {
  double loss = 0;
  for (size_t r = 0; r < inputs_.rows.size(); ++r) {
    const TableRow& row = inputs_.rows[r];
    if (row.part->layer != group.first || row.part->ProbeGroup() != group.second) continue;
    const std::optional<int> to = NextWidth(*row.row, widths_[r], raised);
    if (!to) continue;
    loss += Loss(row, widths_[r], problem_.objective) - Loss(row, *to, problem_.objective);
  }
  return raised ? loss : -loss;
}

PlanStep::Slopes PlanStep::MeasuredSlopes(const std::vector<double>& windows,
                                          const MovedGroups& moved) const {
  std::map<std::pair<std::string, bool>, std::map<int, NoisySlope>> kinds;
  for (const auto& [place, group] : moved) {
    for (const bool raised : {true, false}) {
      const std::vector<double>& measured = raised ? group.raised : group.lowered;
      const double loss = LossOfMove(place, raised);
      if (measured.empty() || loss <= 0) continue;
      kinds[{place.second, raised}][place.first] = SlopeOf(measured, windows, raised ? -loss : loss);
    }
  }
  Slopes slopes;
  for (auto& [kind, layers] : kinds) {
    ShrinkToMean(layers);
    for (const auto& [layer, slope] : layers) {
      Slope& found = slopes[{layer, kind.first}];
      (kind.second ? found.raised : found.lowered) = slope.value;
    }
  }
  return slopes;
}

void PlanStep::SetValues(const Slopes& slopes) {
  for (ChoiceGroup& group : groups_) {
    for (size_t i = 0; i < group.widths.size(); ++i) {
      double value = 0;
      for (const size_t r : group.rows) {
        const TableRow& row = inputs_.rows[r];
        const auto found = slopes.find({row.part->layer, row.part->ProbeGroup()});
        const Slope slope = found == slopes.end() ? Slope() : found->second;
        value += (group.widths[i] > widths_[r] ? slope.raised : slope.lowered) *
                 (Loss(row, group.widths[i], problem_.objective) - Loss(row, widths_[r], problem_.objective));
      }
      group.options[i].value = value;
    }
  }
}

// On all ranks that pay for the group.
int64_t PlanStep::ChangeOfGroup(size_t group, int level) const {
  const int64_t ranks = groups_[group].rank == kEveryRank ? problem_.ranks : 1;
  return ranks * std::abs(CostAt(groups_[group], level) - CostAt(groups_[group], levels_[group]));
}

int64_t PlanStep::ChangeOf(const std::vector<int>& levels) const {
  int64_t change = 0;
  for (size_t g = 0; g < groups_.size(); ++g) change += ChangeOfGroup(g, levels[g]);
  return change;
}

std::vector<RankGroup> PlanStep::PenalizedGroups(double penalty) const {
  std::vector<RankGroup> items;
  for (size_t g = 0; g < groups_.size(); ++g) {
    RankGroup& item = items.emplace_back(RankGroup{groups_[g].rank, groups_[g].options});
    for (size_t i = 0; i < item.options.size(); ++i)
      item.options[i].value += penalty * static_cast<double>(ChangeOfGroup(g, static_cast<int>(i)));
  }
  return items;
}

std::optional<std::vector<int>> PlanStep::Solve(double penalty, int64_t capacity) const {
  const std::optional<KnapsackSolution> solution =
      SolveRankKnapsack(PenalizedGroups(penalty), problem_.ranks, capacity, kStates);
  if (!solution) return std::nullopt;
  return solution->choice;
}

// The least penalty for every changed unit that keeps the change within `change`: the Lagrangian of the
// region.
std::optional<std::vector<int>> PlanStep::SolveWithin(int64_t change, int64_t capacity) const {
  std::optional<std::vector<int>> levels = Solve(/*penalty=*/0, capacity);
  if (!levels || ChangeOf(*levels) <= change) return levels;
  double most = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (size_t i = 0; i < groups_[g].options.size(); ++i) {
      const auto cost = static_cast<double>(ChangeOfGroup(g, static_cast<int>(i)));
      if (cost > 0) most = std::max(most, std::abs(groups_[g].options[i].value) / cost);
    }
  }
  levels.reset();
  double low = 0, high = 2 * most;
  for (int i = 0; i < kHalvings; ++i) {
    const double penalty = (low + high) / 2;
    std::optional<std::vector<int>> found = Solve(penalty, capacity);
    if (!found || ChangeOf(*found) > change) {
      low = penalty;
      continue;
    }
    high = penalty;
    levels = std::move(found);
  }
  return levels;
}

ProposedPlan PlanStep::Describe(const std::vector<int>& levels) const {
  ProposedPlan proposed;
  proposed.plan = DescribePlan(inputs_, spec_, problem_.objective, Spread(problem_, groups_, levels).widths);
  proposed.plan.lower_bound = lower_bound_;
  proposed.plan.unconstrained_loss = unconstrained_loss_;
  for (size_t g = 0; g < groups_.size(); ++g) proposed.predicted += ValueAt(groups_[g], levels[g]);
  return proposed;
}

std::optional<ProposedPlan> PlanStep::Propose(double region) const {
  const auto change = static_cast<int64_t>(region * static_cast<double>(problem_.capacity) * problem_.ranks);
  int64_t capacity = problem_.capacity;
  for (int i = 0; i < kMaxTightenings; ++i) {
    const std::optional<std::vector<int>> levels = SolveWithin(change, capacity);
    if (!levels || *levels == levels_) return std::nullopt;
    ProposedPlan proposed = Describe(*levels);
    if (!(proposed.predicted < 0)) return std::nullopt;
    // Costs leave out some digits of headers; only the laid out files count.
    const int64_t excess =
        spec_.budget.max_bytes ? proposed.plan.weight_file_bytes - *spec_.budget.max_bytes : 0;
    if (excess <= 0) return proposed;
    capacity = -excess;
    for (size_t g = 0; g < groups_.size(); ++g) capacity += CostAt(groups_[g], (*levels)[g]);
  }
  return std::nullopt;
}

}  // namespace quantmoe
