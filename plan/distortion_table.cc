#include "plan/distortion_table.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>

#include "plan/json_codec.h"

namespace quantmoe {
namespace {

using nlohmann::json;

json RowJson(const DistortionRow& row) {
  json widths = json::object();
  for (const auto& [bits, facts] : row.widths) {
    widths[absl::StrCat(bits)] = {{"distortion", facts.distortion},
                                  {"relative_error", facts.relative_error},
                                  {"block_error", facts.block_error}};
  }
  return {{"linear", LinearJson(row.linear)},
          {"tokens", row.tokens},
          {"damp", row.damp},
          {"method", row.method},
          {"fallback", row.fallback},
          {"outlier_score", row.outlier_score},
          {"widths", std::move(widths)}};
}

int WidthFromKey(const std::string& key) {
  const int bits = std::stoi(key);
  if (bits < 1 || bits > 16 || absl::StrCat(bits) != key) throw std::invalid_argument("bad width " + key);
  return bits;
}

DistortionRow RowFromJson(const json& value) {
  DistortionRow row;
  row.linear = LinearFromJson(value.at("linear"));
  row.tokens = value.at("tokens").get<int64_t>();
  row.damp = value.at("damp").get<double>();
  row.method = value.at("method").get<std::string>();
  row.fallback = value.at("fallback").get<std::string>();
  row.outlier_score = value.at("outlier_score").get<double>();
  for (const auto& [key, facts] : value.at("widths").items()) {
    const WidthFacts read{facts.at("distortion").get<double>(), facts.at("relative_error").get<double>(),
                          facts.at("block_error").get<double>()};
    if (!std::isfinite(read.distortion) || !std::isfinite(read.block_error))
      throw std::invalid_argument("distortion is not finite: " + row.linear.name);
    row.widths[WidthFromKey(key)] = read;
  }
  return row;
}

json PartJson(const PartTable& table) {
  json blobs = json::object();
  for (const auto& [bits, digest] : table.blobs) blobs[absl::StrCat(bits)] = DigestJson(digest);
  json rows = json::array();
  for (const DistortionRow& row : table.rows) rows.push_back(RowJson(row));
  return {{"layer", table.layer},
          {"part", table.part},
          {"loss_scale", table.loss_scale},
          {"blobs", std::move(blobs)},
          {"rows", std::move(rows)}};
}

PartTable PartFromJson(const json& value) {
  PartTable table;
  table.layer = value.at("layer").get<int>();
  table.part = value.at("part").get<int>();
  table.loss_scale = value.value("loss_scale", 1.0);
  for (const auto& [key, digest] : value.at("blobs").items()) {
    table.blobs[WidthFromKey(key)] = DigestFromJson(digest);
  }
  for (const json& row : value.at("rows")) table.rows.push_back(RowFromJson(row));
  return table;
}

DistortionTable TableFromJson(const json& value) {
  DistortionTable table;
  for (const json& part : value.at("parts")) table.parts.push_back(PartFromJson(part));
  for (const json& counts : value.at("routing")) {
    table.routing.push_back({counts.at("layer").get<int>(), counts.at("counts").get<std::vector<int64_t>>()});
  }
  std::sort(table.parts.begin(), table.parts.end(), [](const PartTable& a, const PartTable& b) {
    return std::tie(a.layer, a.part) < std::tie(b.layer, b.part);
  });
  std::sort(table.routing.begin(), table.routing.end(),
            [](const RoutingCounts& a, const RoutingCounts& b) { return a.layer < b.layer; });
  return table;
}

}  // namespace

std::string PartTable::ProbeGroup() const {
  if (rows.empty()) return "";
  const LinearKind kind = rows.front().linear.kind;
  return IsAttention(kind) ? "attention" : IsExpert(kind) ? "experts" : "mlp";
}

std::string PartTableToJson(const PartTable& table) { return PartJson(table).dump(); }

absl::StatusOr<PartTable> PartTableFromJson(absl::string_view text) {
  return DecodeJson<PartTable>(text, "part table", PartFromJson);
}

std::string DistortionTableToJson(const DistortionTable& table) {
  json parts = json::array();
  for (const PartTable& part : table.parts) parts.push_back(PartJson(part));
  json routing = json::array();
  for (const RoutingCounts& counts : table.routing) {
    routing.push_back({{"layer", counts.layer}, {"counts", counts.counts}});
  }
  return json{{"parts", std::move(parts)}, {"routing", std::move(routing)}}.dump();
}

absl::StatusOr<DistortionTable> DistortionTableFromJson(absl::string_view text) {
  return DecodeJson<DistortionTable>(text, "distortion table", TableFromJson);
}

}  // namespace quantmoe
