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
  Accuracy acc;  // of the most likely choice; with groups: over all items, standard errors pooled
  std::optional<Accuracy> acc_norm;          // likelihood divided by the code points of the choice
  std::map<std::string, GroupScore> groups;  // MMLU's subjects; else empty
};
struct PerplexityScore {
  double value = 0;
  int64_t tokens = 0;  // scored
  int64_t windows = 0;
};
struct ItemScore {
  std::string task;
  int64_t item = 0;
  std::string group;
  int gold = 0;
  int prediction = 0;
  std::optional<int> prediction_norm;
  std::vector<TargetScore> choices;
};
struct EvalReport {
  std::optional<PerplexityScore> perplexity;
  std::vector<TaskScore> tasks;  // in the order in which they were asked
  std::vector<ItemScore> items;  // of all tasks but perplexity
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
  };
  struct Item {
    int gold = 0;
    std::string group;
    std::vector<Choice> choices;
  };
  struct Window {
    TargetScore score;
    int64_t tokens = 0;
  };

  absl::Status AddTarget(const EvalTarget& target, const TargetScore& score);
  absl::StatusOr<TaskScore> ScoreTask(const EvalTask& task, const std::map<int64_t, Item>& items,
                                      std::vector<ItemScore>& records) const;

  std::vector<EvalTask> tasks_;
  std::map<int, std::map<int64_t, Item>> items_;  // by task; in order, so that sums do not depend on shards
  std::map<int64_t, Window> windows_;
  int64_t truncated_ = 0;
};

// {"perplexity": {value, tokens, windows}, "tasks": {name: {acc, acc_stderr, acc_norm, acc_norm_stderr,
// items, groups}}, "truncated": n}; what does not exist is left out.
std::string ScoresToJson(const EvalReport& report);
// One JSON object a line: task, item, group, gold, prediction, prediction_norm, log_likelihoods, greedy.
std::string ItemsToJsonLines(const EvalReport& report);

}  // namespace quantmoe
