#include "quant/evaluate/intervals.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "plan/heuristics/split_mix.h"

namespace quantmoe {
namespace {

class Draws {
 public:
  explicit Draws(uint64_t seed) : state_(seed) {}

  // In [0, count), by the high part of a product; the bias is below count / 2^64.
  size_t Next(size_t count) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<size_t>((static_cast<Wide>(NextSplitMix(state_)) * count) >> 64);
  }

 private:
  uint64_t state_;
};

double Score(double sum, double weight, ScoreFormula formula) {
  return formula == ScoreFormula::kMean ? sum / weight : std::exp(-sum / weight);
}

PairedSample& operator+=(PairedSample& sum, const PairedSample& sample) {
  sum.before += sample.before;
  sum.after += sample.after;
  sum.weight += sample.weight;
  return sum;
}

double Difference(const PairedSample& sum, ScoreFormula formula) {
  return Score(sum.after, sum.weight, formula) - Score(sum.before, sum.weight, formula);
}

struct Metric {
  std::string name;
  ScoreFormula formula;
  double (*value)(const ItemScore&);
  double (*weight)(const ItemScore&);
};

double One(const ItemScore&) { return 1; }
double LogLikelihood(const ItemScore& item) { return item.log_likelihood(); }

std::vector<Metric> MetricsOf(Scoring scoring) {
  const Metric acc{"acc", ScoreFormula::kMean,
                   [](const ItemScore& item) { return item.correct() ? 1.0 : 0.0; }, One};
  const Metric acc_norm{"acc_norm", ScoreFormula::kMean,
                        [](const ItemScore& item) { return item.correct_norm() ? 1.0 : 0.0; }, One};
  const auto words = [](const ItemScore& item) { return static_cast<double>(item.words); };
  const auto bytes = [](const ItemScore& item) { return static_cast<double>(item.bytes); };
  const auto tokens = [](const ItemScore& item) { return static_cast<double>(item.tokens.front()); };
  const auto bits = [](const ItemScore& item) { return -item.log_likelihood() / std::numbers::ln2; };
  switch (scoring) {
    case Scoring::kAccuracy:
      return {acc};
    case Scoring::kNormalizedAccuracy:
      return {acc, acc_norm};
    case Scoring::kLastWord:
      return {acc, {"perplexity", ScoreFormula::kExponentialLoss, LogLikelihood, One}};
    case Scoring::kRolling:
      return {{"word_perplexity", ScoreFormula::kExponentialLoss, LogLikelihood, words},
              {"byte_perplexity", ScoreFormula::kExponentialLoss, LogLikelihood, bytes},
              {"bits_per_byte", ScoreFormula::kMean, bits, bytes}};
    case Scoring::kWindows:
      return {{"value", ScoreFormula::kExponentialLoss, LogLikelihood, tokens}};
  }
  return {};
}

absl::Status NotPaired(const ItemScore& item, const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "EVALUATION_NOT_PAIRED",
                   absl::StrCat(item.task, " item ", item.item, ": ", what),
                   {{"task", item.task}, {"item", absl::StrCat(item.item)}});
}

absl::Status CheckPaired(const std::vector<ItemScore>& before, const std::vector<ItemScore>& after) {
  for (size_t i = 0; i < std::max(before.size(), after.size()); ++i) {
    if (i >= before.size() || i >= after.size())
      return NotPaired(i < before.size() ? before[i] : after[i], "only one of the two was asked it");
    const ItemScore &a = before[i], &b = after[i];
    const bool same = a.task == b.task && a.item == b.item && a.scoring == b.scoring && a.gold == b.gold &&
                      a.tokens == b.tokens && a.words == b.words && a.bytes == b.bytes;
    if (!same) return NotPaired(a, absl::StrCat("the other was asked ", b.task, " item ", b.item, " there"));
  }
  return absl::OkStatus();
}

}  // namespace

PairedInterval PairedBootstrap(const std::vector<PairedSample>& samples, ScoreFormula formula,
                               const BootstrapOptions& options) {
  PairedSample whole{0, 0, 0};
  for (const PairedSample& sample : samples) whole += sample;
  Draws draws(options.seed);
  std::vector<double> differences(static_cast<size_t>(options.resamples));
  for (double& difference : differences) {
    PairedSample sum{0, 0, 0};
    for (size_t i = 0; i < samples.size(); ++i) sum += samples[draws.Next(samples.size())];
    difference = Difference(sum, formula);
  }
  std::sort(differences.begin(), differences.end());
  const auto outside = static_cast<size_t>((1 - options.confidence) / 2 * options.resamples);
  return {Score(whole.before, whole.weight, formula), Score(whole.after, whole.weight, formula),
          Difference(whole, formula), differences[outside], differences[differences.size() - 1 - outside]};
}

absl::StatusOr<std::vector<ScoreComparison>> CompareScores(const EvalReport& before, const EvalReport& after,
                                                           const BootstrapOptions& options) {
  RETURN_IF_ERROR(CheckPaired(before.items, after.items));
  std::vector<ScoreComparison> comparisons;
  for (size_t begin = 0, end = 0; begin < before.items.size(); begin = end) {
    const ItemScore& first = before.items[begin];
    while (end < before.items.size() && before.items[end].task == first.task) ++end;
    for (const Metric& metric : MetricsOf(first.scoring)) {
      std::vector<PairedSample> samples;
      for (size_t i = begin; i < end; ++i) {
        samples.push_back(
            {metric.value(before.items[i]), metric.value(after.items[i]), metric.weight(before.items[i])});
      }
      comparisons.push_back({first.task, metric.name, static_cast<int64_t>(samples.size()),
                             PairedBootstrap(samples, metric.formula, options)});
    }
  }
  return comparisons;
}

std::string ComparisonToJson(const std::vector<ScoreComparison>& scores, const BootstrapOptions& options) {
  nlohmann::json out{{"method", "paired bootstrap, percentiles"},
                     {"confidence", options.confidence},
                     {"resamples", options.resamples},
                     {"seed", options.seed},
                     {"scores", nlohmann::json::array()}};
  for (const ScoreComparison& score : scores) {
    const PairedInterval& interval = score.interval;
    out["scores"].push_back({{"task", score.task},
                             {"metric", score.metric},
                             {"items", score.items},
                             {"before", interval.before},
                             {"after", interval.after},
                             {"difference", interval.difference},
                             {"interval", {interval.low, interval.high}}});
  }
  return out.dump();
}

}  // namespace quantmoe
