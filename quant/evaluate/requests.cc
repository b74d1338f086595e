#include "quant/evaluate/requests.h"

#include <algorithm>
#include <span>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "quant/evaluate/python_strings.h"

namespace quantmoe {
namespace {

absl::Status Invalid(const std::string& reason, const std::string& message) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason, message);
}

}  // namespace

absl::Status RequestBuilder::CheckOptions() const {
  if (options_.max_length < 1) {
    return Invalid("EVALUATION_INVALID", absl::StrCat("a longest input of ", options_.max_length, " tokens"));
  }
  return tokenizer_.CheckAddBos(options_.add_bos);
}

// A text that already begins with the written BOS gets no second one.
absl::StatusOr<std::vector<int32_t>> RequestBuilder::Encode(std::string_view text) {
  const auto prefix = tokenizer_.bos_id() ? tokenizer_.bos_id() : tokenizer_.eos_id();
  std::string written;
  if (prefix) {
    ASSIGN_OR_RETURN(written, tokenizer_.Decode(std::span(&*prefix, 1), false));
  }
  if (!written.empty() && text.starts_with(written)) return tokenizer_.Encode(text, false);
  if (!options_.add_bos.has_value()) return tokenizer_.Encode(text, true);
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer_.Encode(text, false));
  if (*options_.add_bos) ids.insert(ids.begin(), *tokenizer_.bos_id());
  return ids;
}

absl::Status RequestBuilder::AddPerplexity(std::string_view text, int window) {
  RETURN_IF_ERROR(CheckOptions());
  if (window < 2)
    return Invalid("EVALUATION_INVALID", absl::StrCat("a perplexity window of ", window, " tokens"));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer_.EncodeText(text, options_.add_bos));
  if (ids.size() < 2) {
    return Invalid("PERPLEXITY_TEXT_TOO_SHORT",
                   absl::StrCat("the perplexity text has ", ids.size(), " tokens"));
  }
  const size_t size = std::min<size_t>(window, ids.size());
  const int task = static_cast<int>(requests_.tasks.size());
  requests_.tasks.push_back({kPerplexityTask, Scoring::kWindows});
  for (size_t begin = 0; begin + size <= ids.size(); begin += size) {
    EvalTarget target;
    target.tokens.assign(ids.begin() + begin + 1, ids.begin() + begin + size);
    target.task = task;
    target.item = static_cast<int64_t>(begin / size);
    EvalSequence sequence;
    sequence.ids.assign(ids.begin() + begin, ids.begin() + begin + size - 1);
    sequence.targets.push_back(std::move(target));
    requests_.sequences.push_back(std::move(sequence));
  }
  return absl::OkStatus();
}

absl::Status RequestBuilder::AddTask(Benchmark benchmark, std::string_view data, const std::string& file,
                                     std::string_view fewshot, const std::string& fewshot_file,
                                     int64_t limit) {
  ASSIGN_OR_RETURN(const auto items, ReadItems(benchmark, data, file, limit));
  if (limit <= 0) RETURN_IF_ERROR(CheckPublishedSize(benchmark, data, file, items.size()));
  std::vector<BenchmarkItem> shots;
  if (!fewshot.empty()) {
    ASSIGN_OR_RETURN(shots, ReadItems(benchmark, fewshot, fewshot_file));
  }
  ASSIGN_OR_RETURN(const auto prompts, MakePrompts(benchmark, items, shots));
  return AddTask(benchmark, prompts);
}

absl::Status RequestBuilder::AddTask(Benchmark benchmark, const std::vector<Prompt>& prompts) {
  RETURN_IF_ERROR(CheckOptions());
  sequence_of_ids_.clear();
  last_context_.clear();
  last_context_ids_.clear();
  EvalTarget target;
  target.task = static_cast<int>(requests_.tasks.size());
  requests_.tasks.push_back({BenchmarkName(benchmark), ScoringOf(benchmark)});
  for (const Prompt& prompt : prompts) {
    target.choices = prompt.choices();
    target.gold = prompt.gold;
    target.group = prompt.group;
    target.words = prompt.words;
    for (target.choice = 0; target.choice < target.choices; ++target.choice) {
      target.length = prompt.lengths[target.choice];
      const absl::Status added = ScoringOf(benchmark) == Scoring::kRolling
                                     ? AddDocument(prompt.continuation(target.choice), target)
                                     : AddChoice(prompt, target);
      if (!added.ok()) {
        return Annotate(
            added, absl::StrCat(BenchmarkName(benchmark), " item ", target.item, " choice ", target.choice));
      }
    }
    ++target.item;
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> RequestBuilder::Prefix() const {
  const auto prefix = tokenizer_.bos_id() ? tokenizer_.bos_id() : tokenizer_.eos_id();
  if (prefix) return *prefix;
  return Invalid("TASK_DATA_INVALID", "the context is empty and the tokenizer has neither BOS nor EOS");
}

// Without a context, BOS or EOS stands for it; a continuation that begins with that token lends it.
absl::StatusOr<RequestBuilder::Pair> RequestBuilder::EncodeAlone(const std::string& continuation) const {
  ASSIGN_OR_RETURN(const int32_t prefix, Prefix());
  Pair pair;
  pair.context = {prefix};
  ASSIGN_OR_RETURN(pair.continuation, tokenizer_.Encode(continuation, false));
  if (!pair.continuation.empty() && pair.continuation.front() == prefix) {
    pair.continuation.erase(pair.continuation.begin());
  }
  return pair;
}

absl::StatusOr<RequestBuilder::Pair> RequestBuilder::EncodePair(const std::string& context,
                                                                const std::string& continuation) {
  const std::string kept(PythonStripRight(context));
  const std::string moved = context.substr(kept.size()) + continuation;
  if (kept.empty()) return EncodeAlone(moved);
  if (kept != last_context_) {
    ASSIGN_OR_RETURN(last_context_ids_, Encode(kept));
    last_context_ = kept;
  }
  Pair pair{last_context_ids_, {}};
  ASSIGN_OR_RETURN(pair.continuation, Encode(kept + moved));
  const size_t split = std::min(pair.context.size(), pair.continuation.size());
  pair.continuation.erase(pair.continuation.begin(), pair.continuation.begin() + split);
  return pair;
}

absl::Status RequestBuilder::AddChoice(const Prompt& prompt, EvalTarget target) {
  ASSIGN_OR_RETURN(Pair pair, EncodePair(prompt.context(target.choice), prompt.continuation(target.choice)));
  const size_t scored = pair.continuation.size();
  const auto longest = static_cast<size_t>(options_.max_length);
  if (scored == 0 || scored > longest) {
    return Invalid("TASK_DATA_INVALID", absl::StrCat("the choice has ", scored, " tokens, not between 1 and ",
                                                     options_.max_length));
  }
  std::vector<int32_t> ids = std::move(pair.context);
  ids.insert(ids.end(), pair.continuation.begin(), pair.continuation.end());
  if (ids.size() > longest + 1) {
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(longest + 1));
    ++requests_.truncated;
  }
  ids.pop_back();
  target.start = static_cast<int>(ids.size() - scored);
  target.tokens = std::move(pair.continuation);
  AddTarget(std::move(ids), std::move(target));
  return absl::OkStatus();
}

void RequestBuilder::AddTarget(std::vector<int32_t> ids, EvalTarget target) {
  const auto [found, added] = sequence_of_ids_.try_emplace(ids, requests_.sequences.size());
  if (added) requests_.sequences.push_back({std::move(ids), {}});
  requests_.sequences[found->second].targets.push_back(std::move(target));
}

absl::Status RequestBuilder::AddDocument(const std::string& text, EvalTarget target) {
  ASSIGN_OR_RETURN(const int32_t prefix, Prefix());
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, Encode(text));
  const size_t tokens = ids.size();
  const auto longest = static_cast<size_t>(options_.max_length);
  if (tokens == 0) return Invalid("TASK_DATA_INVALID", "the document has no tokens");
  ids.insert(ids.begin(), prefix);  // so that ids[i] is the token before the i-th to predict
  target.choices = static_cast<int>((tokens + longest - 1) / longest);
  for (size_t predicted = 0; predicted < tokens; ++target.choice) {
    const size_t end = std::min(predicted + longest, tokens);
    const size_t begin = end - std::min(end, longest);
    target.start = static_cast<int>(predicted - begin);
    target.tokens.assign(ids.begin() + static_cast<std::ptrdiff_t>(predicted) + 1,
                         ids.begin() + static_cast<std::ptrdiff_t>(end) + 1);
    AddTarget(
        {ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)},
        target);
    predicted = end;
  }
  return absl::OkStatus();
}

}  // namespace quantmoe
