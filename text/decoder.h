// The `decoder` of a tokenizer.json: steps from token strings back to text.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

#include "text/pattern.h"
#include "text/pre_tokenizer.h"

namespace quantmoe {

struct ByteLevelDecoding {};     // GPT-2's alphabet back to bytes; what is no UTF-8 becomes U+FFFD
struct ByteFallbackDecoding {};  // runs of <0xNN> back to characters, or one U+FFFD a byte
struct FuseDecoding {};          // joins all tokens
struct ReplaceDecoding {
  Pattern pattern;
  std::string content;
};
struct StripDecoding {
  char32_t content;
  int64_t start;  // at most so many leading ones
  int64_t stop;   // and trailing ones
};
struct MetaspaceDecoding {
  char32_t replacement;
  PrependScheme prepend;
};
using DecoderStep = std::variant<ByteLevelDecoding, ByteFallbackDecoding, FuseDecoding, ReplaceDecoding,
                                 StripDecoding, MetaspaceDecoding>;

class Decoder {
 public:
  template <typename Step>
  void Add(Step step) {
    steps_.emplace_back(std::in_place_type<Step>, std::move(step));
  }
  // A file without a decoder joins tokens by a space.
  void SetAbsent() { absent_ = true; }

  // Errors of Pattern::ReplaceAll.
  absl::StatusOr<std::string> Decode(std::vector<std::string> tokens) const;

 private:
  std::vector<DecoderStep> steps_;
  bool absent_ = false;
};

}  // namespace quantmoe
