// What the model has to read for an evaluation: token sequences, each with the continuations whose likelihood
// is asked. Built from a perplexity text and from prompts, exactly as lm-evaluation-harness 4e7e0d4 tokenizes
// them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "quant/evaluate/prompts.h"
#include "text/tokenizer.h"

namespace quantmoe {

// One continuation: the logits at positions start, start + 1, ... of its sequence predict `tokens`. It
// carries all that scoring needs to know of its item.
struct EvalTarget {
  int start = 0;
  std::vector<int32_t> tokens;
  int task = 0;      // index in the list of tasks
  int64_t item = 0;  // item of the task, or window of the perplexity text
  int choice = 0;    // or window of the WikiText page
  int choices = 1;   // of the item; 1 for perplexity
  int gold = 0;
  int64_t length = 0;  // code points of the choice, or bytes of the WikiText page
  int64_t words = 0;   // of the WikiText page
  std::string group;   // MMLU: subject

  friend bool operator==(const EvalTarget&, const EvalTarget&) = default;
};

// One input of the model. Continuations with the same input (MMLU's letters) share it.
struct EvalSequence {
  std::vector<int32_t> ids;
  std::vector<EvalTarget> targets;

  friend bool operator==(const EvalSequence&, const EvalSequence&) = default;
};

struct EvalTask {
  std::string name;  // kPerplexityTask or a benchmark's
  Scoring scoring = Scoring::kAccuracy;

  friend bool operator==(const EvalTask&, const EvalTask&) = default;
};
inline constexpr char kPerplexityTask[] = "perplexity";

struct EvalRequests {
  std::vector<EvalTask> tasks;
  std::vector<EvalSequence> sequences;
  int64_t truncated = 0;  // continuations whose context was cut on the left to fit
};

struct EvalOptions {
  std::optional<bool> add_bos;  // unset: as the tokenizer does
  int max_length = 2048;        // the longest input, in tokens
};

class RequestBuilder {
 public:
  // `tokenizer` must outlive the builder.
  RequestBuilder(const Tokenizer& tokenizer, EvalOptions options)
      : tokenizer_(tokenizer), options_(options) {}

  // The text is tokenized once and cut into windows of `window` tokens, the last partial one dropped; a text
  // shorter than one window is one shorter window. The first token of a window is not scored.
  // INVALID_ARGUMENT PERPLEXITY_TEXT_TOO_SHORT (less than two tokens), EVALUATION_INVALID (window).
  absl::Status AddPerplexity(std::string_view text, int window);

  // INVALID_ARGUMENT TASK_DATA_INVALID when a choice has no tokens or more than max_length.
  absl::Status AddTask(Benchmark benchmark, const std::vector<Prompt>& prompts);

  // All of ReadItems, CheckPublishedSize (without a limit), MakePrompts and AddTask, with their errors.
  // `fewshot` may be empty.
  absl::Status AddTask(Benchmark benchmark, std::string_view data, const std::string& file,
                       std::string_view fewshot, const std::string& fewshot_file, int64_t limit = 0);

  EvalRequests Finish() && { return std::move(requests_); }

 private:
  struct Pair {
    std::vector<int32_t> context;
    std::vector<int32_t> continuation;
  };

  absl::Status CheckOptions() const;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text);
  absl::StatusOr<int32_t> Prefix() const;
  absl::StatusOr<Pair> EncodePair(const std::string& context, const std::string& continuation);
  absl::StatusOr<Pair> EncodeAlone(const std::string& continuation) const;
  absl::Status AddChoice(const Prompt& prompt, EvalTarget target);
  void AddTarget(std::vector<int32_t> ids, EvalTarget target);
  // Windows over the whole document: each token is predicted once, the first one from BOS or EOS.
  absl::Status AddDocument(const std::string& text, EvalTarget target);

  const Tokenizer& tokenizer_;
  const EvalOptions options_;
  EvalRequests requests_;
  // Within one task: the sequence of an input, and the last context with its ids.
  absl::flat_hash_map<std::vector<int32_t>, size_t> sequence_of_ids_;
  std::string last_context_;
  std::vector<int32_t> last_context_ids_;
};

}  // namespace quantmoe
