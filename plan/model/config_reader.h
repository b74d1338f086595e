// Typed access to the fields of config.json, parsed after QuoteNonFinite (base/python_json.h). The first
// problem is kept and every later read returns a harmless value, so that a family reads all its fields
// without a check after each. A field that is null counts as absent.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "nlohmann/json.hpp"

namespace quantmoe {

inline constexpr int64_t kMaxModelDimension = int64_t{1} << 24;

class ConfigReader {
 public:
  // `config` must outlive the reader. `inner` names the object with the language model of a multimodal
  // config: its fields are read there, and those that describe the whole file beside it.
  explicit ConfigReader(const nlohmann::json& config, absl::string_view inner = "")
      : config_(config), inner_(inner) {}

  bool Has(absl::string_view key) const;         // present and not null
  bool HasMembers(absl::string_view key) const;  // the same, and no empty object
  bool Named(absl::string_view key) const;       // present, perhaps null; not dotted
  // The raw value; null when absent. Keys may be dotted: "rope_scaling.factor".
  const nlohmann::json& At(absl::string_view key) const;

  int64_t Int(absl::string_view key, int64_t min = 1, int64_t max = kMaxModelDimension);
  int64_t IntOr(absl::string_view key, int64_t absent, int64_t min = 1, int64_t max = kMaxModelDimension);
  // Within (above, at_most].
  double Number(absl::string_view key, double above = 0, double at_most = 1e12);
  double NumberOr(absl::string_view key, double absent, double above = 0, double at_most = 1e12);
  bool BoolOr(absl::string_view key, bool absent);
  std::string TextOr(absl::string_view key, absl::string_view absent);
  std::vector<std::string> Texts(absl::string_view key);  // empty when absent
  std::vector<int64_t> Ints(absl::string_view key);
  std::vector<double> Numbers(absl::string_view key);  // above 0

  // MODEL_INVALID and MODEL_UNSUPPORTED with the field in message and metadata.
  void Invalid(absl::string_view key, absl::string_view why);
  void Unsupported(absl::string_view key, absl::string_view why);
  const absl::Status& status() const { return status_; }

 private:
  void Fail(absl::string_view reason, absl::string_view key, absl::string_view why);
  bool IsInner(absl::string_view key) const;
  const nlohmann::json& ObjectOf(absl::string_view key) const;

  const nlohmann::json& config_;
  const std::string inner_;
  absl::Status status_;
};

}  // namespace quantmoe
