#include "quant/evaluate/scores.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <numbers>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/evaluate/mmlu_categories.h"

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

  void Add(bool is_right) {
    ++items;
    right += is_right;
  }
};

double Normalized(double log_likelihood, int64_t length) {
  return length > 0 ? log_likelihood / static_cast<double>(length) : -std::numeric_limits<double>::infinity();
}

void ScoreGroups(const std::vector<ItemScore>& items, TaskScore& score) {
  std::map<std::string, Count> counts;
  for (const ItemScore& item : items) {
    if (!item.group.empty()) counts[item.group].Add(item.correct());
  }
  std::map<std::string, std::map<std::string, GroupScore>> members;
  std::map<std::string, Count> categories;
  for (const auto& [name, count] : counts) {
    score.groups[name] = {count.items, AccuracyOf(count.right, count.items)};
    const std::string category(MmluCategory(name));
    if (category.empty()) continue;
    members[category][name] = score.groups[name];
    categories[category].items += count.items;
    categories[category].right += count.right;
  }
  if (!counts.empty()) score.acc->standard_error = PooledError(score.groups);
  for (const auto& [name, count] : categories) {
    score.categories[name] = {count.items,
                              {AccuracyOf(count.right, count.items).value, PooledError(members[name])}};
  }
}

// exp(-sum of log-likelihoods / sum of what `weight` counts) and the like.
double MeanLoss(const std::vector<ItemScore>& items, int64_t (*weight)(const ItemScore&)) {
  double sum = 0;
  int64_t count = 0;
  for (const ItemScore& item : items) {
    sum += item.log_likelihood();
    count += weight(item);
  }
  return -sum / static_cast<double>(count);
}

TaskScore ScoreTask(const EvalTask& task, const std::vector<ItemScore>& items) {
  TaskScore score;
  score.name = task.name;
  score.items = static_cast<int64_t>(items.size());
  if (task.scoring == Scoring::kRolling) {
    const double byte_loss = MeanLoss(items, [](const ItemScore& item) { return item.bytes; });
    score.perplexities = {
        {"word_perplexity", std::exp(MeanLoss(items, [](const ItemScore& item) { return item.words; }))},
        {"byte_perplexity", std::exp(byte_loss)},
        {"bits_per_byte", byte_loss / std::numbers::ln2}};
    return score;
  }
  Count plain, normalized;
  for (const ItemScore& item : items) {
    plain.Add(item.correct());
    normalized.Add(item.correct_norm());
  }
  score.acc = AccuracyOf(plain.right, plain.items);
  if (task.scoring == Scoring::kNormalizedAccuracy)
    score.acc_norm = AccuracyOf(normalized.right, normalized.items);
  if (task.scoring == Scoring::kLastWord)
    score.perplexities["perplexity"] = std::exp(MeanLoss(items, [](const ItemScore&) { return int64_t{1}; }));
  ScoreGroups(items, score);
  return score;
}

PerplexityScore ScoreWindows(const std::vector<ItemScore>& windows) {
  PerplexityScore score;
  score.windows = static_cast<int64_t>(windows.size());
  for (const ItemScore& window : windows) score.tokens += window.tokens.front();
  score.value = std::exp(MeanLoss(windows, [](const ItemScore& window) { return window.tokens.front(); }));
  return score;
}

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
    const char greedy = row[sizeof(double)];
    if (greedy != '\0' && greedy != '\1') return BadBlob("scores blob: a mark is neither 0 nor 1");
    score.greedy = greedy == '\1';
    row += kRowBytes;
  }
  return scores;
}

double ItemScore::log_likelihood() const {
  double sum = 0;
  for (const TargetScore& choice : choices) sum += choice.log_likelihood;
  return sum;
}

bool ItemScore::greedy() const {
  return std::all_of(choices.begin(), choices.end(), [](const TargetScore& choice) { return choice.greedy; });
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
  const auto [found, is_new] = items_[target.task].try_emplace(target.item);
  Item& item = found->second;
  if (is_new) item = {target.gold, target.words, target.group, std::vector<Choice>(target.choices)};
  if (item.choices.size() != static_cast<size_t>(target.choices) || item.choices[target.choice].known)
    return BadBlob(absl::StrCat(task, " item ", item_name, ": choice ", target.choice, " came twice"));
  item.choices[target.choice] = {true, score, target.length, static_cast<int64_t>(target.tokens.size())};
  return absl::OkStatus();
}

absl::StatusOr<ItemScore> ScoreMerger::ScoreItem(const EvalTask& task, int64_t number, const Item& item) {
  ItemScore record;
  record.task = task.name;
  record.scoring = task.scoring;
  record.item = number;
  record.group = item.group;
  record.gold = item.gold;
  std::vector<double> sums, means;
  for (const Choice& choice : item.choices) {
    if (!choice.known) return BadBlob(absl::StrCat(task.name, " item ", number, ": a choice has no score"));
    record.choices.push_back(choice.score);
    record.tokens.push_back(choice.tokens);
    sums.push_back(choice.score.log_likelihood);
    means.push_back(Normalized(choice.score.log_likelihood, choice.length));
  }
  if (task.scoring == Scoring::kNormalizedAccuracy) record.prediction_norm = Best(means);
  if (task.scoring == Scoring::kAccuracy || task.scoring == Scoring::kNormalizedAccuracy)
    record.prediction = Best(sums);
  if (task.scoring == Scoring::kRolling) {
    record.words = item.words;
    record.bytes = item.choices.front().length;
  }
  return record;
}

absl::StatusOr<EvalReport> ScoreMerger::Finish() const {
  EvalReport report;
  report.truncated = truncated_;
  for (const auto& [task, items] : items_) {
    std::vector<ItemScore> records;
    for (const auto& [number, item] : items) {
      ASSIGN_OR_RETURN(ItemScore record, ScoreItem(tasks_[task], number, item));
      records.push_back(std::move(record));
    }
    if (tasks_[task].scoring == Scoring::kWindows) {
      report.perplexity = ScoreWindows(records);
    } else {
      report.tasks.push_back(ScoreTask(tasks_[task], records));
    }
    std::move(records.begin(), records.end(), std::back_inserter(report.items));
  }
  return report;
}

}  // namespace quantmoe
