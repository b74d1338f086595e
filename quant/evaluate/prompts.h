// Items to texts: what a model reads before a choice and what it is scored on, as lm-evaluation-harness
// 4e7e0d4 puts it. Zero-shot, and few-shot (the first dev items of the subject, in order) for MMLU.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "quant/evaluate/datasets.h"

namespace quantmoe {

struct Prompt {
  std::vector<std::string> contexts;       // one for all choices, or one for each; WikiText: empty
  std::vector<std::string> continuations;  // one for all contexts, or one for each choice; with the delimiter
  std::vector<int64_t> lengths;  // code points of each choice without the delimiter; WikiText: bytes
  int64_t words = 0;             // WikiText: of the page
  int gold = 0;
  std::string group;  // MMLU: the subject; else empty

  int choices() const { return static_cast<int>(lengths.size()); }
  const std::string& context(int choice) const { return contexts[contexts.size() == 1 ? 0 : choice]; }
  const std::string& continuation(int choice) const {
    return continuations[continuations.size() == 1 ? 0 : choice];
  }
};

inline constexpr int kMmluShots = 5;

// `shots`: items of MMLU's dev split, or none for zero-shot; other benchmarks take none.
// INVALID_ARGUMENT TASK_DATA_INVALID when a subject has fewer than kMmluShots of them;
// TASK_FEWSHOT_UNSUPPORTED.
absl::StatusOr<std::vector<Prompt>> MakePrompts(Benchmark benchmark, const std::vector<BenchmarkItem>& items,
                                                const std::vector<BenchmarkItem>& shots);

}  // namespace quantmoe
