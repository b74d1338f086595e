// The width that the configuration of a quantized checkpoint declares for a module: `bits` with ordered
// `dynamic` rules in GPTQ, `config_groups` and `ignore` in compressed-tensors.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <nlohmann/json.hpp>

namespace quantmoe {

struct DeclaredWidth {
  int width = 0;  // 0: the module is not quantized
  int group_size = 0;
  bool symmetric = true;  // all zero points are in the middle

  friend bool operator==(const DeclaredWidth&, const DeclaredWidth&) = default;
};

class DeclaredWidths {
 public:
  // `config` is the content of quantization_config. DATA_LOSS names the key that is missing, the pattern that
  // is no regular expression (PCRE2's dialect, which has all that Python's has) or takes too much room, or a
  // scheme other than integers in groups.
  static absl::StatusOr<DeclaredWidths> FromGptq(const nlohmann::ordered_json& config);
  static absl::StatusOr<DeclaredWidths> FromCompressedTensors(const nlohmann::ordered_json& config);

  // The first rule that matches the module's name counts, then the default. DATA_LOSS names a pattern that
  // takes too many steps to tell.
  absl::StatusOr<DeclaredWidth> Of(const std::string& module) const;

 private:
  class Pattern;
  struct Rule {
    std::string start;  // every name that matches begins with it; saves most of the matching
    std::shared_ptr<const Pattern> pattern;
    DeclaredWidth width;
  };

  absl::Status AddPattern(const std::string& pattern, DeclaredWidth width);
  absl::Status AddGroup(const nlohmann::ordered_json& group);

  // Rules in order, exact names apart: a model can have one for each of its experts. The number is the rule's
  // place among all.
  std::map<std::string, std::pair<size_t, DeclaredWidth>> names_;
  std::vector<std::pair<size_t, Rule>> rules_;
  size_t count_ = 0;
  DeclaredWidth default_;
};

}  // namespace quantmoe
