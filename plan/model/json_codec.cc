#include "plan/model/json_codec.h"

#include <stdexcept>

#include "base/json_number.h"

namespace quantmoe {

nlohmann::json LinearJson(const Linear& linear) {
  return {
      {"name", linear.name},     {"layer", linear.layer}, {"kind", std::string(LinearKindName(linear.kind))},
      {"expert", linear.expert}, {"out", linear.out},     {"in", linear.in},
      {"bias", linear.bias}};
}

Linear LinearFromJson(const nlohmann::json& json) {
  Linear linear;
  linear.name = json.at("name").get<std::string>();
  linear.layer = IntegerAt<int>(json, "layer");
  const absl::StatusOr<LinearKind> kind = ParseLinearKind(json.at("kind").get<std::string>());
  if (!kind.ok()) throw std::invalid_argument(std::string(kind.status().message()));
  linear.kind = *kind;
  linear.expert = IntegerAt<int>(json, "expert");
  linear.out = IntegerAt<int64_t>(json, "out");
  linear.in = IntegerAt<int64_t>(json, "in");
  linear.bias = json.value("bias", false);
  const bool sane = linear.layer >= 0 && linear.expert >= -1 && linear.out > 0 && linear.in > 0 &&
                    linear.out <= (1 << 30) && linear.in <= (1 << 30);
  if (!sane) throw std::invalid_argument(absl::StrCat("bad linear ", linear.name));
  return linear;
}

}  // namespace quantmoe
