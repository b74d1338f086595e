#include "plan/allocate/distortion_table.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>

#include "absl/strings/numbers.h"

#include "base/json_number.h"
#include "plan/model/json_codec.h"
#include "plan/options/spec_json.h"

namespace quantmoe {
namespace {

using nlohmann::json;

json RowJson(const DistortionRow& row) {
  json widths = json::object();
  for (const auto& [width, facts] : row.widths) {
    widths[absl::StrCat(width)] = {{"distortion", facts.distortion},
                                   {"relative_error", facts.relative_error},
                                   {"block_error", facts.block_error},
                                   {"gate_distortion", facts.gate_distortion}};
  }
  return {{"linear", LinearJson(row.linear)},
          {"tokens", row.tokens},
          {"damp", row.damp},
          {"method", row.method},
          {"fallback", row.fallback},
          {"outlier_score", row.outlier_score},
          {"wanda_score", row.wanda_score},
          {"effective_rank", row.effective_rank},
          {"widths", std::move(widths)}};
}

int WidthFromKey(const std::string& key) {
  int width = 0;
  if (!absl::SimpleAtoi(key, &width) || width < 1 || width > 16 || absl::StrCat(width) != key)
    throw std::invalid_argument("bad width " + key);
  return width;
}

DistortionRow RowFromJson(const json& value) {
  DistortionRow row;
  row.linear = LinearFromJson(value.at("linear"));
  row.tokens = IntegerAt<int64_t>(value, "tokens");
  row.damp = value.at("damp").get<double>();
  row.method = value.at("method").get<std::string>();
  row.fallback = value.at("fallback").get<std::string>();
  row.outlier_score = value.at("outlier_score").get<double>();
  row.wanda_score = value.value("wanda_score", 0.0);
  row.effective_rank = value.value("effective_rank", 0.0);
  for (const auto& [key, facts] : value.at("widths").items()) {
    const WidthFacts read{facts.at("distortion").get<double>(), facts.at("relative_error").get<double>(),
                          facts.at("block_error").get<double>(), facts.value("gate_distortion", 0.0)};
    if (!std::isfinite(read.distortion) || !std::isfinite(read.block_error) ||
        !std::isfinite(read.gate_distortion))
      throw std::invalid_argument("distortion is not finite: " + row.linear.name);
    row.widths[WidthFromKey(key)] = read;
  }
  return row;
}

json PartJson(const PartTable& table) {
  json blobs = json::object();
  for (const auto& [width, digest] : table.blobs) blobs[absl::StrCat(width)] = DigestJson(digest);
  json rows = json::array();
  for (const DistortionRow& row : table.rows) rows.push_back(RowJson(row));
  json value = {{"layer", table.layer},
                {"part", table.part},
                {"loss_scale", table.loss_scale},
                {"blobs", std::move(blobs)},
                {"rows", std::move(rows)}};
  if (!table.window_scales.empty()) value["window_scales"] = table.window_scales;
  return value;
}

PartTable PartFromJson(const json& value) {
  PartTable table;
  table.layer = IntegerAt<int>(value, "layer");
  table.part = IntegerAt<int>(value, "part");
  table.loss_scale = value.value("loss_scale", 1.0);
  table.window_scales = value.value("window_scales", std::vector<double>());
  for (const auto& [key, digest] : value.at("blobs").items()) {
    table.blobs[WidthFromKey(key)] = DigestFromJson(digest);
  }
  for (const json& row : value.at("rows")) table.rows.push_back(RowFromJson(row));
  return table;
}

json RoutingJson(const RoutingCounts& routing) {
  json value = {{"layer", routing.layer},
                {"counts", routing.counts},
                {"router_weights", routing.router_weights},
                {"tokens", routing.tokens},
                {"ffn_cosine", routing.ffn_cosine},
                {"stream_cosine", routing.stream_cosine}};
  if (routing.predicted_cosine) value["predicted_cosine"] = *routing.predicted_cosine;
  return value;
}

RoutingCounts RoutingFromJson(const json& value) {
  RoutingCounts routing;
  routing.layer = IntegerAt<int>(value, "layer");
  routing.counts = IntegersOf<int64_t>(value.at("counts"));
  routing.router_weights = value.value("router_weights", std::vector<double>());
  routing.tokens = IntegerOr<int64_t>(value, "tokens", 0);
  routing.ffn_cosine = value.value("ffn_cosine", 0.0);
  routing.stream_cosine = value.value("stream_cosine", 0.0);
  if (value.contains("predicted_cosine")) routing.predicted_cosine = value["predicted_cosine"].get<double>();
  return routing;
}

DistortionTable TableFromJson(const json& value) {
  DistortionTable table;
  for (const json& part : value.at("parts")) table.parts.push_back(PartFromJson(part));
  for (const json& routing : value.at("routing")) table.routing.push_back(RoutingFromJson(routing));
  for (const json& stream : value.value("streams", json::array()))
    table.streams.push_back(StreamStatisticsOf(stream));
  std::sort(table.parts.begin(), table.parts.end(), [](const PartTable& a, const PartTable& b) {
    return std::tie(a.layer, a.part) < std::tie(b.layer, b.part);
  });
  std::sort(table.routing.begin(), table.routing.end(),
            [](const RoutingCounts& a, const RoutingCounts& b) { return a.layer < b.layer; });
  std::sort(table.streams.begin(), table.streams.end(),
            [](const StreamStatistics& a, const StreamStatistics& b) { return a.layer < b.layer; });
  return table;
}

}  // namespace

std::optional<int> NextWidth(const DistortionRow& row, int width, bool larger) {
  auto at = larger ? row.widths.upper_bound(width) : row.widths.lower_bound(width);
  if (at == (larger ? row.widths.end() : row.widths.begin())) return std::nullopt;
  return (larger ? at : std::prev(at))->first;
}

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
  for (const RoutingCounts& counts : table.routing) routing.push_back(RoutingJson(counts));
  json streams = json::array();
  for (const StreamStatistics& stream : table.streams) streams.push_back(StreamStatisticsJson(stream));
  return json{{"parts", std::move(parts)}, {"routing", std::move(routing)}, {"streams", std::move(streams)}}
      .dump();
}

std::string RoutingCountsToJson(const RoutingCounts& routing) { return RoutingJson(routing).dump(); }

absl::StatusOr<RoutingCounts> RoutingCountsFromJson(absl::string_view text) {
  return DecodeJson<RoutingCounts>(text, "routing counts", RoutingFromJson);
}

absl::StatusOr<DistortionTable> DistortionTableFromJson(absl::string_view text) {
  return DecodeJson<DistortionTable>(text, "distortion table", TableFromJson);
}

}  // namespace quantmoe
