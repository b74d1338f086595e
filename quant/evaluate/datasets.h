// The benchmark data sets as JSON lines or Parquet, in the field layout of their publishers: bytes to typed
// items, with every violation named by file, line and field.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace quantmoe {

enum class Benchmark {
  kWinogrande,
  kCopa,
  kOpenBookQa,
  kHellaSwag,
  kPiqa,
  kMmlu,
  kArcEasy,
  kArcChallenge,
  kBoolQ,
  kLambada,
  kWikiText
};

// What becomes of the log-likelihoods of an item.
enum class Scoring {
  kAccuracy,            // acc: the most likely choice
  kNormalizedAccuracy,  // also acc_norm: the most likely by likelihood divided by code points
  kLastWord,            // acc: every token is the greedy choice; perplexity of the items
  kRolling,             // perplexity of whole documents by words and bytes
  kWindows              // perplexity of a text by tokens
};

// "winogrande", "copa", "openbookqa", "hellaswag", "piqa", "mmlu", "arc_easy", "arc_challenge", "boolq",
// "lambada_openai", "wikitext"; else INVALID_ARGUMENT TASK_UNKNOWN {task}, which lists them.
absl::StatusOr<Benchmark> ParseBenchmark(std::string_view name);
const char* BenchmarkName(Benchmark benchmark);
Scoring ScoringOf(Benchmark benchmark);
// Items of the split that published scores are about.
int64_t PublishedItems(Benchmark benchmark);

struct WinograndeItem {
  std::string sentence;  // has a '_'
  std::array<std::string, 2> options;
  int answer;  // 0 or 1 (the data set says "1" or "2")
};
struct CopaItem {
  std::string premise;
  std::array<std::string, 2> choices;  // not empty
  bool asks_cause;                     // else it asks for the effect
  int label;
};
struct OpenBookQaItem {
  std::string question_stem;
  std::vector<std::string> choices;
  int answer;  // index of answerKey among the labels
};
struct HellaSwagItem {
  std::string activity_label;
  std::string ctx_a;
  std::string ctx_b;
  std::vector<std::string> endings;  // 4
  int label;
};
struct PiqaItem {
  std::string goal;
  std::array<std::string, 2> solutions;
  int label;
};
struct MmluItem {
  std::string question;
  std::vector<std::string> choices;  // 4
  int answer;
  std::string subject;  // words joined by '_'

  friend bool operator==(const MmluItem&, const MmluItem&) = default;
};
struct ArcItem {
  std::string question;
  std::vector<std::string> choices;  // 3 to 5
  int answer;                        // index of answerKey among the labels

  friend bool operator==(const ArcItem&, const ArcItem&) = default;
};
struct BoolQItem {
  std::string passage;
  std::string question;
  int label;  // 1: yes

  friend bool operator==(const BoolQItem&, const BoolQItem&) = default;
};
struct LambadaItem {
  std::string text;  // the last word is asked
};
struct WikiTextItem {
  std::string page;
};
using BenchmarkItem = std::variant<WinograndeItem, CopaItem, OpenBookQaItem, HellaSwagItem, PiqaItem,
                                   MmluItem, ArcItem, BoolQItem, LambadaItem, WikiTextItem>;

// JSON lines, or Parquet where `bytes` begin as such a file. `file` is the name to show in errors. Labels may
// be numbers or strings of digits, as in the published sets; fields that are not needed are ignored.
// `limit` > 0 keeps the first so many items. INVALID_ARGUMENT TASK_DATA_INVALID {file, line, field}; a file
// without items is one, too.
absl::StatusOr<std::vector<BenchmarkItem>> ReadItems(Benchmark benchmark, std::string_view bytes,
                                                     const std::string& file, int64_t limit = 0);

// Published scores are about whole splits: INVALID_ARGUMENT TASK_SIZE_MISMATCH {file, items, published}
// unless a Parquet file holds just PublishedItems. JSON lines are anybody's items and pass.
absl::Status CheckPublishedSize(Benchmark benchmark, std::string_view bytes, const std::string& file,
                                size_t items);

}  // namespace quantmoe
