#include "plan/model/json_codec.h"

#include <stdexcept>

namespace quantmoe {

nlohmann::json DigestJson(const Digest& digest) {
  return {{"sha256", digest.sha256}, {"size_bytes", digest.size_bytes}};
}

Digest DigestFromJson(const nlohmann::json& json) {
  Digest digest{json.at("sha256").get<std::string>(), json.at("size_bytes").get<int64_t>()};
  if (!digest.sha256.empty() && !IsSha256(digest.sha256)) throw std::invalid_argument("bad sha256");
  if (digest.size_bytes < 0) throw std::invalid_argument("negative size_bytes");
  return digest;
}

nlohmann::json LinearJson(const Linear& linear) {
  return {
      {"name", linear.name},     {"layer", linear.layer}, {"kind", std::string(LinearKindName(linear.kind))},
      {"expert", linear.expert}, {"out", linear.out},     {"in", linear.in},
      {"bias", linear.bias}};
}

Linear LinearFromJson(const nlohmann::json& json) {
  Linear linear;
  linear.name = json.at("name").get<std::string>();
  linear.layer = json.at("layer").get<int>();
  const absl::StatusOr<LinearKind> kind = ParseLinearKind(json.at("kind").get<std::string>());
  if (!kind.ok()) throw std::invalid_argument(std::string(kind.status().message()));
  linear.kind = *kind;
  linear.expert = json.at("expert").get<int>();
  linear.out = json.at("out").get<int64_t>();
  linear.in = json.at("in").get<int64_t>();
  linear.bias = json.value("bias", false);
  const bool sane = linear.layer >= 0 && linear.expert >= -1 && linear.out > 0 && linear.in > 0 &&
                    linear.out <= (1 << 30) && linear.in <= (1 << 30);
  if (!sane) throw std::invalid_argument(absl::StrCat("bad linear ", linear.name));
  return linear;
}

}  // namespace quantmoe
