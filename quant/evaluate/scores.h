// From log-likelihoods to scores, as lm-evaluation-harness 4e7e0d4 defines them. Needs the shards (`requests`
// blobs) and their results (`scores` blobs) alone, and depends on neither text nor model.
//
// Result blob: 8 bytes "QMSCORE1", the number of targets (uint64), then for each target of the shard, in the
// order of its sequences and their targets, the log-likelihood (float64) and one byte: 1 when every token was
// the greedy choice. Little-endian; doubles are exact.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "quant/evaluate/shards.h"

namespace quantmoe {

struct TargetScore {
  double log_likelihood = 0;  // sum over the tokens, natural logarithm
  bool greedy = false;

  friend bool operator==(const TargetScore&, const TargetScore&) = default;
};
using ShardScores = std::vector<TargetScore>;

std::string SerializeScores(const ShardScores& scores);
// INVALID_ARGUMENT EVALUATION_BLOB_INVALID.
absl::StatusOr<ShardScores> ParseScores(std::string_view bytes);

struct Accuracy {
  double value = 0;
  double standard_error = 0;
};
struct GroupScore {
  int64_t items = 0;
  Accuracy acc;
};
struct TaskScore {
  std::string name;
  int64_t items = 0;
  // Of the most likely choice; with groups: over all items, standard errors pooled. LAMBADA: all tokens
  // greedy.
  std::optional<Accuracy> acc;
  std::optional<Accuracy> acc_norm;  // likelihood divided by the code points of the choice
  std::map<std::string, double>
      perplexities;  // LAMBADA: perplexity; WikiText: word_, byte_perplexity, bits_per_byte
  std::map<std::string, GroupScore> groups;      // MMLU's subjects; else empty
  std::map<std::string, GroupScore> categories;  // of MMLU's published subjects
};
struct PerplexityScore {
  double value = 0;
  int64_t tokens = 0;  // scored
  int64_t windows = 0;
};
// An item of a task, or a window of the perplexity text (which has one choice and no prediction).
struct ItemScore {
  std::string task;
  Scoring scoring = Scoring::kAccuracy;
  int64_t item = 0;
  std::string group;
  int gold = 0;
  std::optional<int> prediction;
  std::optional<int> prediction_norm;
  std::vector<TargetScore> choices;  // WikiText: windows of the page
  std::vector<int64_t> tokens;       // scored, of each choice
  int64_t words = 0;                 // WikiText
  int64_t bytes = 0;                 // WikiText

  double log_likelihood() const;  // over all choices
  bool greedy() const;            // every token of every choice
  bool correct() const { return scoring == Scoring::kLastWord ? greedy() : prediction == gold; }
  bool correct_norm() const { return prediction_norm == gold; }
};
struct EvalReport {
  std::optional<PerplexityScore> perplexity;
  std::vector<TaskScore> tasks;  // in the order in which they were asked
  std::vector<ItemScore> items;  // of all tasks, and the windows of the perplexity text
  int64_t truncated = 0;
};

// Takes shards in shard order.
class ScoreMerger {
 public:
  // INVALID_ARGUMENT EVALUATION_BLOB_INVALID when the two do not belong together or a choice comes twice;
  // FAILED_PRECONDITION EVALUATION_NOT_FINITE {task, item} for a likelihood that is no number or infinite.
  absl::Status Add(const EvalShard& shard, const ShardScores& scores);

  // INVALID_ARGUMENT EVALUATION_BLOB_INVALID when choices of an item are missing.
  absl::StatusOr<EvalReport> Finish() const;

 private:
  struct Choice {
    bool known = false;
    TargetScore score;
    int64_t length = 0;
    int64_t tokens = 0;
  };
  struct Item {
    int gold = 0;
    int64_t words = 0;
    std::string group;
    std::vector<Choice> choices;
  };

  absl::Status AddTarget(const EvalTarget& target, const TargetScore& score);
  static absl::StatusOr<ItemScore> ScoreItem(const EvalTask& task, int64_t number, const Item& item);

  std::vector<EvalTask> tasks_;
  std::map<int, std::map<int64_t, Item>> items_;  // by task; in order, so that sums do not depend on shards
  int64_t truncated_ = 0;
};

// {"perplexity": {value, tokens, windows}, "tasks": {name: {acc, acc_stderr, acc_norm, acc_norm_stderr,
// perplexity, word_perplexity, byte_perplexity, bits_per_byte, items, groups, categories}}, "truncated": n};
// what does not exist is left out.
std::string ScoresToJson(const EvalReport& report);
// One JSON object a line: task, item, group, gold, prediction, prediction_norm, correct, log_likelihoods,
// greedy, tokens, words, bytes; what does not exist is left out. `weights`, when not empty, says whose they
// are.
std::string ItemsToJsonLines(const EvalReport& report, const std::string& weights = "");

}  // namespace quantmoe
