#include "quant/evaluate/shards.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/exception_text.h"
#include "base/json.h"
#include "base/json_number.h"
#include "base/status_macros.h"

namespace quantmoe {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "quantmoe.requests";
constexpr int kVersion = 2;
// In the order of the enumeration.
constexpr const char* kScorings[] = {"accuracy", "normalized_accuracy", "last_word", "rolling", "windows"};

absl::Status BadBlob(const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "EVALUATION_BLOB_INVALID", "requests blob: " + what);
}

json ToJson(const EvalTarget& t) {
  return json::array(
      {t.start, t.tokens, t.task, t.item, t.choice, t.choices, t.gold, t.length, t.words, t.group});
}

EvalTarget TargetFromJson(const json& row) {
  EvalTarget t;
  t.start = IntegerOf<int>(row.at(0));
  t.tokens = IntegersOf<int32_t>(row.at(1));
  t.task = IntegerOf<int>(row.at(2));
  t.item = IntegerOf<int64_t>(row.at(3));
  t.choice = IntegerOf<int>(row.at(4));
  t.choices = IntegerOf<int>(row.at(5));
  t.gold = IntegerOf<int>(row.at(6));
  t.length = IntegerOf<int64_t>(row.at(7));
  t.words = IntegerOf<int64_t>(row.at(8));
  row.at(9).get_to(t.group);
  return t;
}

bool IsIndex(int64_t value, int64_t size) { return value >= 0 && value < size; }

absl::Status Check(const EvalShard& shard) {
  for (const EvalSequence& sequence : shard.sequences) {
    const auto length = static_cast<int64_t>(sequence.ids.size());
    for (const EvalTarget& t : sequence.targets) {
      const auto scored = static_cast<int64_t>(t.tokens.size());
      const bool inside = t.start >= 0 && scored > 0 && t.start + scored <= length;
      const bool known = IsIndex(t.task, static_cast<int64_t>(shard.tasks.size())) && t.item >= 0 &&
                         IsIndex(t.choice, t.choices) && IsIndex(t.gold, t.choices) && t.length >= 0 &&
                         t.words >= 0;
      if (!inside || !known) return BadBlob(absl::StrCat("a target of item ", t.item, " is out of range"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<EvalShard> ShardFromJson(const json& root) {
  if (root.at("format") != kFormat || root.at("version") != kVersion) {
    return BadBlob("not of the format and version that this program reads");
  }
  EvalShard shard;
  for (const json& task : root.at("tasks")) {
    const auto name = task.at(1).get<std::string>();
    const auto scoring = std::find(std::begin(kScorings), std::end(kScorings), name);
    if (scoring == std::end(kScorings)) return BadBlob("no scoring is named '" + name + "'");
    shard.tasks.push_back(
        {task.at(0).get<std::string>(), static_cast<Scoring>(scoring - std::begin(kScorings))});
  }
  shard.truncated = IntegerAt<int64_t>(root, "truncated");
  for (const json& row : root.at("sequences")) {
    EvalSequence sequence;
    sequence.ids = IntegersOf<int32_t>(row.at(0));
    for (const json& target : row.at(1)) sequence.targets.push_back(TargetFromJson(target));
    shard.sequences.push_back(std::move(sequence));
  }
  RETURN_IF_ERROR(Check(shard));
  return shard;
}

}  // namespace

std::vector<EvalShard> CutShards(EvalRequests requests) {
  std::vector<EvalShard> shards;
  int64_t tokens = 0;
  int64_t current = -1;
  for (EvalSequence& sequence : requests.sequences) {
    if (tokens / kShardTokens != current) {
      current = tokens / kShardTokens;
      shards.push_back({requests.tasks, {}, shards.empty() ? requests.truncated : 0});
    }
    tokens += static_cast<int64_t>(sequence.ids.size());
    shards.back().sequences.push_back(std::move(sequence));
  }
  for (EvalShard& shard : shards) {
    std::stable_sort(
        shard.sequences.begin(), shard.sequences.end(),
        [](const EvalSequence& a, const EvalSequence& b) { return a.ids.size() < b.ids.size(); });
  }
  return shards;
}

std::vector<std::vector<int>> MakeBatches(const EvalShard& shard) {
  std::vector<std::vector<int>> batches;
  int64_t used = 0;  // tokens of the current batch without padding
  for (size_t i = 0; i < shard.sequences.size(); ++i) {
    const auto length = static_cast<int64_t>(shard.sequences[i].ids.size());
    const int64_t padded = batches.empty() ? 0 : length * static_cast<int64_t>(batches.back().size() + 1);
    const auto padding = static_cast<double>(padded - used - length);
    const bool fits = padded <= kBatchTokens && padding <= kMostPadding * static_cast<double>(padded);
    if (batches.empty() || !fits) {
      batches.emplace_back();
      used = 0;
    }
    batches.back().push_back(static_cast<int>(i));
    used += length;
  }
  return batches;
}

std::string SerializeShard(const EvalShard& shard) {
  json tasks = json::array();
  for (const EvalTask& task : shard.tasks)
    tasks.push_back(json::array({task.name, kScorings[static_cast<size_t>(task.scoring)]}));
  json sequences = json::array();
  for (const EvalSequence& sequence : shard.sequences) {
    json targets = json::array();
    for (const EvalTarget& target : sequence.targets) targets.push_back(ToJson(target));
    sequences.push_back(json::array({sequence.ids, std::move(targets)}));
  }
  return json{{"format", kFormat},
              {"version", kVersion},
              {"tasks", std::move(tasks)},
              {"truncated", shard.truncated},
              {"sequences", std::move(sequences)}}
      .dump();
}

absl::StatusOr<EvalShard> ParseShard(std::string_view bytes) {
  const absl::StatusOr<json> parsed = ParseJson({bytes.data(), bytes.size()});
  if (!parsed.ok()) return BadBlob(std::string(parsed.status().message()));
  try {
    return ShardFromJson(*parsed);
  } catch (const std::exception& error) {  // of the library, or of a number that does not fit
    return BadBlob(ExceptionText(error));
  }
}

}  // namespace quantmoe
