// The `pre_tokenizer` of a tokenizer.json: steps that cut a piece of text into words, each step on each piece
// alone. ByteLevel is only a flag here: words stay raw bytes, and the BPE model holds its vocabulary in raw
// bytes as well.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "text/pattern.h"

namespace quantmoe {

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct SplitStep {
  Pattern pattern;
  SplitBehavior behavior;
  bool invert;  // what the pattern does not match counts as the match
};
struct DigitsStep {
  bool individual;
};
enum class PrependScheme { kFirst, kNever, kAlways };
struct MetaspaceStep {
  std::string replacement;  // one code point
  PrependScheme prepend;
  bool split;
};
struct PrefixSpaceStep {};  // ByteLevel's add_prefix_space

using PreTokenizerStep = std::variant<SplitStep, DigitsStep, MetaspaceStep, PrefixSpaceStep>;

// The pattern of GPT-2, which ByteLevel applies with use_regex.
extern const char kGpt2Pattern[];

class PreTokenizer {
 public:
  using Sink = absl::FunctionRef<void(std::string_view word)>;

  template <typename Step>
  void Add(Step step) {
    steps_.emplace_back(std::in_place_type<Step>, std::move(step));
  }
  void SetByteLevel() { byte_level_ = true; }
  bool byte_level() const { return byte_level_; }

  // Calls `sink` for every word of `piece`, in order; empty words are skipped. `at_text_start`: the piece
  // begins where the whole text begins (Metaspace's scheme "first"). Errors of Pattern::ForEachMatch.
  absl::Status Split(std::string_view piece, bool at_text_start, Sink sink) const {
    return Run(0, piece, at_text_start, sink);
  }

 private:
  struct Runner;
  absl::Status Run(size_t step, std::string_view piece, bool at_text_start, Sink sink) const;

  std::vector<PreTokenizerStep> steps_;
  bool byte_level_ = false;
};

}  // namespace quantmoe
