#include "plan/allocate/bit_plan.h"

#include "plan/model/json_codec.h"
#include "plan/options/spec_json.h"

namespace quantmoe {
namespace {

using nlohmann::json;

Refinement RefinementFromJson(const json& value) {
  return {value.at("rounds").get<int>(),
          value.at("trials").get<int>(),
          value.at("accepted").get<int>(),
          value.at("divergence_before").get<double>(),
          value.at("divergence_after").get<double>(),
          value.at("sequences").get<int64_t>(),
          value.at("tokens").get<int64_t>()};
}

BitPlan PlanFromJson(const json& value) {
  BitPlan plan;
  plan.heuristic = value.at("heuristic").get<std::string>();
  plan.profile = value.at("profile").get<std::string>();
  plan.group_size = value.at("group_size").get<int>();
  plan.average_bits = value.at("average_bits").get<double>();
  plan.stored_bits = value.at("stored_bits").get<double>();
  plan.weight_file_bytes = value.at("weight_file_bytes").get<int64_t>();
  plan.distortion = value.at("distortion").get<double>();
  plan.lower_bound = value.at("lower_bound").get<double>();
  plan.objective = value.value("objective", plan.objective);
  plan.unconstrained_distortion = value.value("unconstrained_distortion", 0.0);
  plan.rank_bytes = value.value("rank_bytes", int64_t{0});
  plan.fallback_ratio = value.at("fallback_ratio").get<double>();
  if (value.contains("refined")) plan.refined = RefinementFromJson(value["refined"]);
  for (const json& item : value.at("linears")) {
    plan.linears.push_back({LinearFromJson(item.at("linear")), item.at("bits").get<int>(),
                            item.contains("blob") ? DigestFromJson(item["blob"]) : Digest{},
                            item.at("distortion").get<double>(), item.at("method").get<std::string>(),
                            item.at("fallback").get<std::string>(), item.value("symmetric", true)});
  }
  return plan;
}

}  // namespace

json RefinementJson(const Refinement& refined) {
  return {{"rounds", refined.rounds},
          {"trials", refined.trials},
          {"accepted", refined.accepted},
          {"divergence_before", refined.divergence_before},
          {"divergence_after", refined.divergence_after},
          {"sequences", refined.sequences},
          {"tokens", refined.tokens}};
}

std::string BitPlanToJson(const BitPlan& plan) {
  json linears = json::array();
  for (const PlannedLinear& planned : plan.linears) {
    linears.push_back({{"linear", LinearJson(planned.linear)},
                       {"bits", planned.bits},
                       {"blob", DigestJson(planned.blob)},
                       {"distortion", planned.distortion},
                       {"method", planned.method},
                       {"fallback", planned.fallback},
                       {"symmetric", planned.symmetric}});
  }
  json value = {{"heuristic", plan.heuristic},
                {"objective", plan.objective},
                {"profile", plan.profile},
                {"group_size", plan.group_size},
                {"average_bits", plan.average_bits},
                {"stored_bits", plan.stored_bits},
                {"weight_file_bytes", plan.weight_file_bytes},
                {"rank_bytes", plan.rank_bytes},
                {"distortion", plan.distortion},
                {"lower_bound", plan.lower_bound},
                {"unconstrained_distortion", plan.unconstrained_distortion},
                {"fallback_ratio", plan.fallback_ratio},
                {"linears", std::move(linears)}};
  if (plan.refined) value["refined"] = RefinementJson(*plan.refined);
  return value.dump();
}

absl::StatusOr<BitPlan> BitPlanFromJson(absl::string_view text) {
  return DecodeJson<BitPlan>(text, "bit plan", PlanFromJson);
}

}  // namespace quantmoe
