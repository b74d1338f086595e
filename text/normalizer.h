// The `normalizer` of a tokenizer.json: a list of steps that each rewrite one piece of text.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

#include "text/pattern.h"

namespace quantmoe {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };
struct PrependStep {
  std::string text;  // put before every piece that is not empty
};
struct ReplaceStep {
  Pattern pattern;
  std::string content;
};
struct LowercaseStep {};
struct StripAccentsStep {};  // removes combining marks; usually behind NFD
struct StripSpaceStep {
  bool left;
  bool right;
};
using NormalizerStep =
    std::variant<UnicodeForm, PrependStep, ReplaceStep, LowercaseStep, StripAccentsStep, StripSpaceStep>;

class Normalizer {
 public:
  template <typename Step>
  void Add(Step step) {
    steps_.emplace_back(std::in_place_type<Step>, std::move(step));
  }
  bool empty() const { return steps_.empty(); }

  // `text` is valid UTF-8; so is the result. Errors of Pattern::ReplaceAll; RESOURCE_EXHAUSTED also when all
  // steps together make more of it than one may.
  absl::StatusOr<std::string> Normalize(std::string_view text) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace quantmoe
