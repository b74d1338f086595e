#include "quant/evaluate/scores.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

static_assert(std::endian::native == std::endian::little, "result blobs are little-endian");

constexpr std::string_view kMagic = "QMSCORE1";
constexpr size_t kHeaderBytes = 16;
constexpr size_t kRowBytes = 9;

absl::Status BadBlob(const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "EVALUATION_BLOB_INVALID", what);
}

// The first of the largest.
int Best(const std::vector<double>& values) {
  return static_cast<int>(std::max_element(values.begin(), values.end()) - values.begin());
}

// Mean and standard error of items that are right or wrong. A sum of squares of 0 and 1 has this closed form.
Accuracy AccuracyOf(int64_t right, int64_t items) {
  const auto n = static_cast<double>(items);
  const double mean = static_cast<double>(right) / n;
  if (items < 2) return {mean, 0};
  return {mean, std::sqrt(mean * (1 - mean) / (n - 1))};
}

// The harness's pooled standard error of a group of tasks.
double PooledError(const std::map<std::string, GroupScore>& groups) {
  double weighted = 0;
  double items = 0;
  for (const auto& [name, group] : groups) {
    const auto n = static_cast<double>(group.items);
    weighted += (n - 1) * group.acc.standard_error * group.acc.standard_error * n;
    items += n;
  }
  const double free = items - static_cast<double>(groups.size());
  return free > 0 ? std::sqrt(weighted / free / items) : 0;
}

struct Count {
  int64_t items = 0;
  int64_t right = 0;
};

}  // namespace

std::string SerializeScores(const ShardScores& scores) {
  std::string bytes(kMagic);
  const uint64_t count = scores.size();
  bytes.append(reinterpret_cast<const char*>(&count), sizeof(count));
  for (const TargetScore& score : scores) {
    bytes.append(reinterpret_cast<const char*>(&score.log_likelihood), sizeof(double));
    bytes += score.greedy ? '\1' : '\0';
  }
  return bytes;
}

absl::StatusOr<ShardScores> ParseScores(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic))
    return BadBlob("scores blob: not of this format");
  uint64_t count = 0;
  std::memcpy(&count, bytes.data() + kMagic.size(), sizeof(count));
  const size_t rows_bytes = bytes.size() - kHeaderBytes;
  if (rows_bytes % kRowBytes != 0 || rows_bytes / kRowBytes != count) {
    return BadBlob(absl::StrCat("scores blob: ", bytes.size(), " bytes for ", count, " targets"));
  }
  ShardScores scores(count);
  const char* row = bytes.data() + kHeaderBytes;
  for (TargetScore& score : scores) {
    std::memcpy(&score.log_likelihood, row, sizeof(double));
    score.greedy = row[sizeof(double)] != 0;
    row += kRowBytes;
  }
  return scores;
}

absl::Status ScoreMerger::Add(const EvalShard& shard, const ShardScores& scores) {
  if (tasks_.empty()) tasks_ = shard.tasks;
  if (tasks_ != shard.tasks) return BadBlob("shards of different evaluations");
  size_t next = 0;
  for (const EvalSequence& sequence : shard.sequences) {
    for (const EvalTarget& target : sequence.targets) {
      if (next == scores.size())
        return BadBlob(absl::StrCat("a shard has more targets than its ", next, " scores"));
      RETURN_IF_ERROR(AddTarget(target, scores[next++]));
    }
  }
  if (next != scores.size()) return BadBlob(absl::StrCat(scores.size(), " scores for ", next, " targets"));
  truncated_ += shard.truncated;
  return absl::OkStatus();
}

absl::Status ScoreMerger::AddTarget(const EvalTarget& target, const TargetScore& score) {
  const std::string& task = tasks_[target.task].name;
  const std::string item_name = absl::StrCat(target.item);
  if (!std::isfinite(score.log_likelihood)) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "EVALUATION_NOT_FINITE",
        absl::StrCat(task, " item ", item_name, ": the log-likelihood is ", score.log_likelihood),
        {{"task", task}, {"item", item_name}});
  }
  bool repeated = false;
  if (task == kPerplexityTask) {
    const auto tokens = static_cast<int64_t>(target.tokens.size());
    repeated = !windows_.try_emplace(target.item, Window{score, tokens}).second;
  } else {
    const auto [found, is_new] = items_[target.task].try_emplace(target.item);
    Item& item = found->second;
    if (is_new) item = {target.gold, target.group, std::vector<Choice>(target.choices)};
    repeated =
        item.choices.size() != static_cast<size_t>(target.choices) || item.choices[target.choice].known;
    if (!repeated) item.choices[target.choice] = {true, score, target.length};
  }
  if (repeated)
    return BadBlob(absl::StrCat(task, " item ", item_name, ": choice ", target.choice, " came twice"));
  return absl::OkStatus();
}

absl::StatusOr<TaskScore> ScoreMerger::ScoreTask(const EvalTask& task, const std::map<int64_t, Item>& items,
                                                 std::vector<ItemScore>& records) const {
  Count plain;
  Count normalized;
  std::map<std::string, Count> groups;
  for (const auto& [number, item] : items) {
    ItemScore record{task.name, number, item.group, item.gold, 0, std::nullopt, {}};
    std::vector<double> sums;
    std::vector<double> means;
    for (const Choice& choice : item.choices) {
      if (!choice.known) return BadBlob(absl::StrCat(task.name, " item ", number, ": a choice has no score"));
      record.choices.push_back(choice.score);
      sums.push_back(choice.score.log_likelihood);
      means.push_back(choice.length > 0 ? choice.score.log_likelihood / static_cast<double>(choice.length)
                                        : -std::numeric_limits<double>::infinity());
    }
    record.prediction = Best(sums);
    const bool right = record.prediction == item.gold;
    ++plain.items;
    plain.right += right;
    if (task.normalized) {
      record.prediction_norm = Best(means);
      normalized.right += *record.prediction_norm == item.gold;
    }
    if (!item.group.empty()) {
      ++groups[item.group].items;
      groups[item.group].right += right;
    }
    records.push_back(std::move(record));
  }
  TaskScore score{task.name, plain.items, AccuracyOf(plain.right, plain.items), std::nullopt, {}};
  if (task.normalized) score.acc_norm = AccuracyOf(normalized.right, plain.items);
  for (const auto& [name, count] : groups) {
    score.groups[name] = {count.items, AccuracyOf(count.right, count.items)};
  }
  if (!groups.empty()) score.acc.standard_error = PooledError(score.groups);
  return score;
}

absl::StatusOr<EvalReport> ScoreMerger::Finish() const {
  EvalReport report;
  report.truncated = truncated_;
  for (const auto& [task, items] : items_) {
    ASSIGN_OR_RETURN(TaskScore score, ScoreTask(tasks_[task], items, report.items));
    report.tasks.push_back(std::move(score));
  }
  if (windows_.empty()) return report;
  double sum = 0;
  PerplexityScore perplexity;
  for (const auto& [number, window] : windows_) {
    sum += window.score.log_likelihood;
    perplexity.tokens += window.tokens;
  }
  perplexity.windows = static_cast<int64_t>(windows_.size());
  perplexity.value = std::exp(-sum / static_cast<double>(perplexity.tokens));
  report.perplexity = perplexity;
  return report;
}

}  // namespace quantmoe
