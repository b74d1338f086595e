#include "plan/job/plan_search.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "base/json_number.h"
#include "base/status_macros.h"
#include "plan/heuristics/split_mix.h"
#include "plan/job/job_allocation.h"
#include "plan/model/json_codec.h"

namespace quantmoe {
namespace {

using nlohmann::json;

// Standard deviation of a factor before anything was measured, as a share of it.
constexpr double kPriorSpread = 0.5;
// No factor is drawn below this share of its estimate.
constexpr double kLeastDraw = 0.1;
// How far losses that add up are from what a plan measures: a share of the change, and of the divergence.
constexpr double kChangeNoise = 0.3;
constexpr double kDivergenceNoise = 1e-3;
// An exchange raises or reduces one group of a stratum, a quarter of them or all.
constexpr size_t kShares[] = {0, 4, 1};
// Raises that are looked at for what an exchange leaves over.
constexpr size_t kMaxRefills = 256;

// Normal but for its tails, from twelve uniform numbers: additions alone, so equal on every machine.
double DrawNormal(uint64_t& state) {
  double sum = 0;
  for (int i = 0; i < 12; ++i) sum += static_cast<double>(NextSplitMix(state) >> 11) * 0x1.0p-53;
  return sum - 6;
}

double Value(const ChoiceGroup& group, int level) { return group.options[static_cast<size_t>(level)].value; }
int64_t Cost(const ChoiceGroup& group, int level) { return group.options[static_cast<size_t>(level)].cost; }

}  // namespace

std::string SearchStateToJson(const SearchState& state) {
  json factors = json::array();
  for (const SearchState::Factor& factor : state.factors) factors.push_back({factor.mean, factor.variance});
  return json{{"factors", std::move(factors)}, {"tried", state.tried}, {"random", state.random}}.dump();
}

absl::StatusOr<SearchState> SearchStateFromJson(absl::string_view text) {
  return DecodeJson<SearchState>(text, "search state", [](const json& value) {
    SearchState state;
    for (const json& factor : value.at("factors"))
      state.factors.push_back({factor.at(0).get<double>(), factor.at(1).get<double>()});
    state.tried = IntegersOf<uint64_t>(value.at("tried"));
    state.random = IntegerAt<uint64_t>(value, "random");
    return state;
  });
}

absl::StatusOr<PlanSearch> PlanSearch::Start(const DistortionTable& table, const JobSpec& spec,
                                             const std::vector<TensorInfo>& kept, const BitPlan& plan,
                                             double divergence, SearchState state,
                                             const std::vector<BitPlan>& rivals) {
  AllocationInputs inputs = MakeInputs(table, spec, kept);
  ASSIGN_OR_RETURN(AllocationProblem problem, MakeProblem(table, spec, inputs));
  SetCosts(spec.budget, inputs, problem);
  PlanSearch search(std::move(inputs), std::move(problem), spec);
  search.groups_ = MakeGroups(search.problem_, Grain::kLinear);
  std::map<std::pair<int, LinearKind>, size_t> index;
  for (size_t g = 0; g < search.groups_.size(); ++g) {
    const Linear& first = search.inputs_.linears[search.groups_[g].rows.front()];
    const auto [at, added] = index.try_emplace({first.layer, first.kind}, search.strata_.size());
    if (added) search.strata_.emplace_back();
    search.strata_[at->second].push_back(g);
    search.stratum_of_.push_back(at->second);
  }
  ASSIGN_OR_RETURN(search.levels_, search.LevelsOf(plan));
  search.divergence_ = divergence;
  search.lower_bound_ = plan.lower_bound;
  search.unconstrained_loss_ = plan.unconstrained_loss;
  search.state_ = std::move(state);
  search.tried_.insert(search.state_.tried.begin(), search.state_.tried.end());
  search.tried_.insert(search.Fingerprint(search.levels_));
  for (const BitPlan& rival : rivals) {
    if (auto levels = search.LevelsOf(rival); levels.ok()) search.rivals_.push_back(*std::move(levels));
  }
  std::reverse(search.rivals_.begin(), search.rivals_.end());
  if (search.state_.factors.size() != search.strata_.size()) search.InitializeFactors();
  return search;
}

absl::StatusOr<std::vector<int>> PlanSearch::LevelsOf(const BitPlan& plan) const {
  absl::flat_hash_map<absl::string_view, int> width_of;
  for (const PlannedLinear& planned : plan.linears) width_of[planned.linear.name] = planned.width;
  std::vector<int> levels;
  for (const ChoiceGroup& group : groups_) {
    std::optional<int> width;
    for (size_t r : group.rows) {
      const auto found = width_of.find(inputs_.linears[r].name);
      if (found == width_of.end() || (width && *width != found->second)) {
        return absl::InvalidArgumentError(
            absl::StrCat("the plan gives ", inputs_.linears[r].name, " no width that fits the table"));
      }
      width = found->second;
    }
    const auto at = std::find(group.widths.begin(), group.widths.end(), *width);
    if (at == group.widths.end()) {
      return absl::InvalidArgumentError(absl::StrCat("the plan gives ",
                                                     inputs_.linears[group.rows.front()].name, " ", *width,
                                                     " bits, which the rules do not allow"));
    }
    levels.push_back(static_cast<int>(at - group.widths.begin()));
  }
  return levels;
}

// What is left to spend on each rank.
std::vector<int64_t> PlanSearch::RoomOf(const std::vector<int>& levels) const {
  std::vector<int64_t> room(static_cast<size_t>(problem_.ranks), problem_.capacity);
  for (size_t g = 0; g < groups_.size(); ++g) Spend({g, 0, 0, Cost(groups_[g], levels[g]), 0}, room);
  return room;
}

// Predicted losses are in nats for one objective only; their sum over the plan and what the plan measures
// give the unit for all.
void PlanSearch::InitializeFactors() {
  double predicted = 0;
  for (size_t g = 0; g < groups_.size(); ++g) predicted += Value(groups_[g], levels_[g]);
  const double unit = predicted > 0 && divergence_ > 0 ? divergence_ / predicted : 1;
  state_.factors.assign(strata_.size(), {unit, kPriorSpread * unit * kPriorSpread * unit});
}

std::vector<double> PlanSearch::DrawFactors() {
  std::vector<double> drawn;
  for (const SearchState::Factor& factor : state_.factors) {
    const double draw = factor.mean + std::sqrt(factor.variance) * DrawNormal(state_.random);
    drawn.push_back(std::max(draw, kLeastDraw * factor.mean));
  }
  return drawn;
}

std::optional<PlanSearch::Step> PlanSearch::BestStep(size_t group, double factor, bool raise) const {
  const ChoiceGroup& choices = groups_[group];
  const int level = levels_[group];
  std::optional<Step> best;
  for (int to = 0; to < static_cast<int>(choices.widths.size()); ++to) {
    const int64_t cost = Cost(choices, to) - Cost(choices, level);
    if (raise ? cost <= 0 : cost >= 0) continue;
    const double value = factor * (Value(choices, to) - Value(choices, level));
    const double rate = value / -static_cast<double>(cost);
    if (!best || (raise ? rate > best->rate : rate < best->rate)) best = {group, to, value, cost, rate};
  }
  return best;
}

PlanSearch::Steps PlanSearch::ListSteps(const std::vector<double>& factors) const {
  Steps steps;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const double factor = factors[stratum_of_[g]];
    if (const auto step = BestStep(g, factor, /*raise=*/true)) steps.raises.push_back(*step);
    if (const auto step = BestStep(g, factor, /*raise=*/false)) steps.reductions.push_back(*step);
  }
  std::stable_sort(steps.raises.begin(), steps.raises.end(),
                   [](const Step& a, const Step& b) { return a.rate > b.rate; });
  std::stable_sort(steps.reductions.begin(), steps.reductions.end(),
                   [](const Step& a, const Step& b) { return a.rate < b.rate; });
  return steps;
}

void PlanSearch::Take(const Step& step, Exchange& exchange) {
  exchange.levels[step.group] = step.level;
  exchange.value += step.value;
}

void PlanSearch::Spend(const Step& step, std::vector<int64_t>& room) const {
  const int rank = groups_[step.group].rank;
  for (size_t r = 0; r < room.size(); ++r) {
    if (rank == kEveryRank || rank == static_cast<int>(r)) room[r] -= step.cost;
  }
}

// Whether a reduction frees room on a rank that has too little.
bool PlanSearch::Pays(const Step& step, const std::vector<int64_t>& room) const {
  const int rank = groups_[step.group].rank;
  for (size_t r = 0; r < room.size(); ++r) {
    if (room[r] < 0 && (rank == kEveryRank || rank == static_cast<int>(r))) return true;
  }
  return false;
}

bool PlanSearch::Fits(const Step& step, const std::vector<int64_t>& room) const {
  std::vector<int64_t> after = room;
  Spend(step, after);
  return std::all_of(after.begin(), after.end(), [](int64_t rest) { return rest >= 0; });
}

// The first `count` steps of one stratum.
PlanSearch::Exchange PlanSearch::Begin(const std::vector<Step>& steps, size_t stratum, size_t count,
                                       std::vector<int64_t>& room) const {
  Exchange exchange;
  for (const Step& step : steps) {
    if (stratum_of_[step.group] != stratum) continue;
    if (exchange.levels.size() == count) break;
    Take(step, exchange);
    Spend(step, room);
  }
  return exchange;
}

// Pays by the cheapest reductions elsewhere, and spends what is left over on the best raises. False when it
// cannot be paid.
bool PlanSearch::Balance(const Steps& steps, Exchange& exchange, std::vector<int64_t>& room) const {
  const auto short_of_room = [&room] {
    return std::any_of(room.begin(), room.end(), [](int64_t rest) { return rest < 0; });
  };
  for (auto step = steps.reductions.begin(); short_of_room(); ++step) {
    if (step == steps.reductions.end()) return false;
    if (exchange.levels.count(step->group) != 0 || !Pays(*step, room)) continue;
    Take(*step, exchange);
    Spend(*step, room);
  }
  size_t looked_at = 0;
  for (const Step& step : steps.raises) {
    if (step.rate <= 0 || ++looked_at > kMaxRefills) break;
    if (exchange.levels.count(step.group) != 0 || !Fits(step, room)) continue;
    Take(step, exchange);
    Spend(step, room);
  }
  return true;
}

// The untried exchange that promises the least loss.
std::optional<PlanSearch::Exchange> PlanSearch::BestExchange(const Steps& steps) const {
  const std::vector<int64_t> room = RoomOf(levels_);
  std::optional<Exchange> best;
  for (size_t stratum = 0; stratum < strata_.size(); ++stratum) {
    for (const std::vector<Step>* first : {&steps.raises, &steps.reductions}) {
      for (const size_t share : kShares) {
        const size_t count = share == 0 ? 1 : (strata_[stratum].size() + share - 1) / share;
        std::vector<int64_t> rest = room;
        Exchange exchange = Begin(*first, stratum, count, rest);
        if (exchange.levels.empty() || !Balance(steps, exchange, rest)) continue;
        if (best && exchange.value >= best->value) continue;
        if (tried_.count(FingerprintAfter(exchange)) != 0 || !FitsFiles(Apply(exchange))) continue;
        best = std::move(exchange);
      }
    }
  }
  return best;
}

std::vector<int> PlanSearch::Apply(const Exchange& exchange) const {
  std::vector<int> levels = levels_;
  for (const auto& [group, level] : exchange.levels) levels[group] = level;
  return levels;
}

// An exclusive or over groups, so that a change of few groups is cheap.
uint64_t PlanSearch::Fingerprint(const std::vector<int>& levels) const {
  uint64_t print = 0;
  for (size_t g = 0; g < levels.size(); ++g) print ^= MixBits(g * 64 + static_cast<size_t>(levels[g]));
  return print;
}

uint64_t PlanSearch::FingerprintAfter(const Exchange& exchange) const {
  uint64_t print = Fingerprint(levels_);
  for (const auto& [group, level] : exchange.levels) {
    print ^= MixBits(group * 64 + static_cast<size_t>(levels_[group])) ^
             MixBits(group * 64 + static_cast<size_t>(level));
  }
  return print;
}

// Costs leave out some digits of headers; only the laid out files count.
bool PlanSearch::FitsFiles(const std::vector<int>& levels) const {
  if (!spec_.budget.max_bytes) return true;
  return inputs_.sizes.Bytes(Spread(problem_, groups_, levels).widths) <= *spec_.budget.max_bytes;
}

BitPlan PlanSearch::Describe(const std::vector<int>& levels) const {
  BitPlan plan = DescribePlan(inputs_, spec_, problem_.objective, Spread(problem_, groups_, levels).widths);
  plan.lower_bound = lower_bound_;
  // What the search changes was not weighed window by window.
  plan.risk.reset();
  plan.unconstrained_loss = unconstrained_loss_;
  return plan;
}

std::optional<BitPlan> PlanSearch::Try(std::vector<int> levels) {
  proposed_ = std::move(levels);
  const uint64_t print = Fingerprint(proposed_);
  tried_.insert(print);
  state_.tried.push_back(print);
  return Describe(proposed_);
}

std::optional<BitPlan> PlanSearch::Propose() {
  while (!rivals_.empty()) {
    std::vector<int> levels = std::move(rivals_.back());
    rivals_.pop_back();
    const std::vector<int64_t> room = RoomOf(levels);
    const bool fits = std::all_of(room.begin(), room.end(), [](int64_t rest) { return rest >= 0; });
    if (fits && FitsFiles(levels) && tried_.count(Fingerprint(levels)) == 0) return Try(std::move(levels));
  }
  const std::optional<Exchange> exchange = BestExchange(ListSteps(DrawFactors()));
  if (!exchange) return std::nullopt;
  return Try(Apply(*exchange));
}

bool PlanSearch::Learn(double divergence, bool acceptable) {
  std::vector<double> change(strata_.size());
  for (size_t g = 0; g < groups_.size(); ++g)
    change[stratum_of_[g]] += Value(groups_[g], proposed_[g]) - Value(groups_[g], levels_[g]);
  double predicted = 0, spread = 0;
  for (size_t s = 0; s < change.size(); ++s) {
    predicted += change[s] * state_.factors[s].mean;
    spread += change[s] * change[s] * state_.factors[s].variance;
  }
  const double measured = divergence - divergence_;
  const double of_change = kChangeNoise * (std::abs(predicted) + std::abs(measured));
  const double of_all = kDivergenceNoise * divergence_;
  const double noise = of_change * of_change + of_all * of_all;
  for (size_t s = 0; s < change.size() && spread + noise > 0; ++s) {
    SearchState::Factor& factor = state_.factors[s];
    const double gain = factor.variance * change[s] / (spread + noise);
    const double least = kLeastDraw * factor.mean;
    factor.mean = std::max(factor.mean + gain * (measured - predicted), least);
    factor.variance *= 1 - gain * change[s];
  }
  const bool better = acceptable && divergence < divergence_;
  if (better) {
    levels_ = proposed_;
    divergence_ = divergence;
  }
  return better;
}

}  // namespace quantmoe
