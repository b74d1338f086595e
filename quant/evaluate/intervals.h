// How sure a difference between two sets of scores is: paired bootstrap. Two models that were asked the same
// items are compared item by item, so that the difficulty of an item, common to both, cancels out. Compares
// any two reports: before and after quantization, or two plans.
//
// Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: items are drawn with
// replacement, the difference of the scores is computed for each draw, and the interval is between
// percentiles of these differences. The draws come from the seed alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "quant/evaluate/scores.h"

namespace quantmoe {

struct BootstrapOptions {
  int resamples = 10000;
  double confidence = 0.95;
  uint64_t seed = 1;
};

// One item under both models. The score of a set of items is a function of sum(value) / sum(weight).
struct PairedSample {
  double before = 0;
  double after = 0;
  double weight = 1;
};
enum class ScoreFormula {
  kMean,             // sum(value) / sum(weight)
  kExponentialLoss,  // exp(-sum(value) / sum(weight)), the perplexity of log-likelihoods
};

struct PairedInterval {
  double before = 0;
  double after = 0;
  double difference = 0;  // after - before
  double low = 0;         // of the difference, at the given confidence
  double high = 0;

  friend bool operator==(const PairedInterval&, const PairedInterval&) = default;
};

// `samples` is not empty and its weights are positive.
PairedInterval PairedBootstrap(const std::vector<PairedSample>& samples, ScoreFormula formula,
                               const BootstrapOptions& options);

struct ScoreComparison {
  std::string task;    // or kPerplexityTask
  std::string metric;  // as in ScoresToJson; "value" for perplexity
  int64_t items = 0;   // that were drawn from: items, documents or windows
  PairedInterval interval;
};

// Every score that the two reports have, in the order of the reports. INVALID_ARGUMENT EVALUATION_NOT_PAIRED
// {task, item} when they are not about the same items.
absl::StatusOr<std::vector<ScoreComparison>> CompareScores(const EvalReport& before, const EvalReport& after,
                                                           const BootstrapOptions& options);

// {"method", "confidence", "resamples", "seed", "scores": [{task, metric, items, before, after, difference,
// interval: [low, high]}]}
std::string ComparisonToJson(const std::vector<ScoreComparison>& scores, const BootstrapOptions& options);

}  // namespace quantmoe
