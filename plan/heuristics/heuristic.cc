// The table of heuristics: an entry is all that there is to say about one beside its algorithm.
#include "plan/heuristics/heuristic.h"

#include <algorithm>

#include "base/uniform_label.h"
#include "plan/heuristics/global_heuristics.h"
#include "plan/heuristics/ranking_heuristics.h"
#include "plan/options/heuristic_names.h"

namespace quantmoe {
namespace {

using Params = std::vector<HeuristicParam>;

Params operator+(Params a, const Params& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// What every ranking takes.
Params Levels() {
  return {
      {"floor", ParamType::kWidth, "width that every linear starts with (default: the smallest candidate)"},
      {"raise", ParamType::kWidth,
       "width that units are raised to in the order of the ranking (default: 4, then the larger "
       "candidates)"}};
}

// What rankings of routed experts take: the other linears come before the ranking.
Params UnroutedWidths() {
  return {
      {"others", ParamType::kWidth,
       "width of attention, shared experts and dense layers, raised before the ranking (default: as raise)"},
      {"attention", ParamType::kWidth, "width of attention (default: as others)"},
      {"shared", ParamType::kWidth, "width of shared experts (default: as others)"},
      {"dense", ParamType::kWidth, "width of dense layers (default: as others)"}};
}

Params Count(const char* text) { return {{"count", ParamType::kCount, text}}; }

Params ExpertScope() {
  return {{"scope",
           ParamType::kChoice,
           "layer: rank inside each layer and take place by place (default); global: one ranking",
           {"layer", "global"}}};
}

Params ExpertCount() {
  return Count("experts to raise, of each layer or of the model (default: as many as fit)");
}

Params BlockCount() { return Count("MoE blocks whose experts are raised (default: as many as fit)"); }

Params Similarity() {
  return {
      {"similarity",
       ParamType::kChoice,
       "ffn: input and output of the feed-forward block (default); stream: the residual stream before and "
       "after the layer",
       {"ffn", "stream"}},
      {"estimate",
       ParamType::kChoice,
       "exact: the mean cosine itself (default); trained: what QuantMoE-Bench's network predicts, trained "
       "for "
       "each block on the calibration text (similarity ffn)",
       {"exact", "trained"}},
      {"epochs", ParamType::kCount,
       "estimate=trained: passes over the text that training takes at most (default 100)"}};
}

Params Objectives() {
  return {{"objective",
           ParamType::kChoice,
           "loss to add up. measured: expected KL divergence at the output, with measured weights of layers "
           "(default); block: error that a block adds to the residual stream; distortion: GPTQ's layer-wise "
           "error; gate: the same, tokens weighted by the gate of their expert",
           {"measured", "block", "distortion", "gate"}}};
}

using Statistics = std::vector<Statistic>;

// What heuristics need, by their parameters.
template <Statistic... kAll>
Statistics Always(const HeuristicParams&) {
  return {kAll...};
}

bool Says(const HeuristicParams& params, const char* name, const char* value) {
  const auto found = params.find(name);
  return found != params.end() && found->second == value;
}

Statistics OfOptimal(const HeuristicParams& params) {
  const bool measured = params.count("objective") == 0 || Says(params, "objective", "measured");
  return measured ? Statistics{Statistic::kLoss, Statistic::kSensitivity} : Statistics{Statistic::kLoss};
}

Statistics OfBlocks(const HeuristicParams& params) {
  if (Says(params, "estimate", "trained")) return {Statistic::kPredictedCosine, Statistic::kBlockCosine};
  return {Statistic::kBlockCosine};
}

Statistics OfCombined(const HeuristicParams& params) {
  Statistics needed = {Statistic::kCounts};
  if (!Says(params, "order", "importance")) return needed;
  for (const Statistic statistic : OfBlocks(params)) needed.push_back(statistic);
  return needed;
}

// A table.
std::vector<Heuristic> MakeCatalog() {  // NOLINT(readability-function-size)
  const Params expert_params = Levels() + UnroutedWidths() + ExpertScope() + ExpertCount();
  return {
      {kOptimalHeuristic,
       "The least total loss that the budget allows, solved exactly, or with tail the least risk over "
       "windows of a "
       "sample; reports a bound that no plan can beat. The plan is published only where it beats the uniform "
       "one.",
       Optimal, OfOptimal,
       Objectives() +
           Params{{"tail", ParamType::kShare,
                   "weight of the worst tenth of the windows against the mean of all, 0 (default) to 1; "
                   "with objective measured, and not for budgets per rank"}}},
      {kAdditiveHeuristic, "As optimal without tail and without a verdict: published whatever it measures.",
       OptimalAdditive, OfOptimal, Objectives()},
      {kUniformHeuristic,
       "The largest width that fits for all linears.",
       Uniform,
       Always<>,
       {},
       /*one_width=*/true},
      {kEqualBytesControl,
       "Control of equal bytes: as uniform, then the next larger width for the first layers, linear by "
       "linear, "
       "as far as the budget goes.",
       LayersInOrder,
       Always<>,
       {},
       /*one_width=*/true},
      {"attention-first",
       "Attention is raised first, then shared experts and dense layers, then experts by layer.",
       AttentionFirst, Always<>, Levels()},
      {"shared-first",
       "Shared experts and dense layers are raised first, then attention, then experts by layer.",
       SharedFirst, Always<>, Levels()},
      {"expert-frequency",
       "Everything but the experts is raised first, then the experts that calibration chose most often.",
       ExpertFrequency, Always<Statistic::kCounts>, expert_params},
      {"router-weight", "As expert-frequency, by the mean weight that the router gave to an expert.",
       RouterWeight, Always<Statistic::kRouterWeights>, expert_params},
      {"wanda",
       "As expert-frequency, by the mean of |weight| times the norm of its input channel, over an expert's "
       "linears.",
       Wanda, Always<Statistic::kWandaScore>, expert_params},
      {"first-blocks",
       "Everything but the experts first, then all experts of the first MoE blocks, block by block.",
       FirstBlocks, Always<>, Levels() + UnroutedWidths() + BlockCount()},
      {"last-blocks", "As first-blocks, from the last MoE block on.", LastBlocks, Always<>,
       Levels() + UnroutedWidths() + BlockCount()},
      {"block-importance",
       "As first-blocks, blocks that change their input's direction most first: by the exact mean cosine, or "
       "by "
       "QuantMoE-Bench's trained estimate of it.",
       BlockImportance, OfBlocks, Levels() + UnroutedWidths() + BlockCount() + Similarity()},
      {"outlier", "Linears with the largest max over columns of (largest / mean magnitude) first.", Outlier,
       Always<Statistic::kOutlierScore>,
       Levels() + UnroutedWidths() +
           Params{{"scope",
                   ParamType::kChoice,
                   "routed: linears of experts, after everything else (default, as published); all: one "
                   "ranking of "
                   "all linears",
                   {"routed", "all"}},
                  {"share", ParamType::kShare,
                   "share of the ranked linears to raise (default: as many as fit)"}}},
      {"combined",
       "Everything but the experts, then all experts of some blocks, then the most chosen experts of each "
       "other "
       "block.",
       Combined, OfCombined,
       Levels() + UnroutedWidths() +
           Params{{"blocks", ParamType::kCount, "MoE blocks whose experts are all raised (default 5)"},
                  {"order",
                   ParamType::kChoice,
                   "which blocks: first (default) or importance (see block-importance)",
                   {"first", "importance"}}} +
           Count("most chosen experts to raise in each other block (default: as many as fit)") +
           Similarity()},
      {"projection", "Everything but the experts, then one projection of all experts.", OneProjection,
       Always<>,
       Levels() + UnroutedWidths() +
           Params{{"which",
                   ParamType::kChoice,
                   "gate (default), up or down (w1, w3, w2 of Mixtral)",
                   {"gate", "up", "down"}}}},
      {"random",
       "Control: everything but the experts, then units of routed experts in an order that a seed decides.",
       RandomOrder, Always<>,
       Levels() + UnroutedWidths() +
           Params{{"seed", ParamType::kCount, "seed of the order (default 42)"},
                  {"unit",
                   ParamType::kChoice,
                   "what is raised as a whole: expert (default), linear or block",
                   {"expert", "linear", "block"}},
                  {"scope",
                   ParamType::kChoice,
                   "global: one order (default); layer: inside each layer, place by place",
                   {"global", "layer"}}} +
           Count("units to raise, of the model or of each layer (default: as many as fit)")}};
}

}  // namespace

const HeuristicParam* Heuristic::FindParam(absl::string_view param) const {
  for (const HeuristicParam& known : params) {
    if (known.name == param) return &known;
  }
  return nullptr;
}

bool Heuristic::Needs(Statistic statistic, const HeuristicParams& given) const {
  const std::vector<Statistic> needed = statistics(given);
  return std::find(needed.begin(), needed.end(), statistic) != needed.end();
}

const std::vector<Heuristic>& Heuristics() {
  static const auto* const kHeuristics = new std::vector<Heuristic>(MakeCatalog());
  return *kHeuristics;
}

const Heuristic* FindHeuristic(absl::string_view name) {
  for (const Heuristic& heuristic : Heuristics()) {
    if (heuristic.name == name) return &heuristic;
  }
  return nullptr;
}

}  // namespace quantmoe
