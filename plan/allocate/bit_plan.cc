#include "plan/allocate/bit_plan.h"

#include "base/json_number.h"
#include "plan/model/json_codec.h"
#include "plan/options/spec_json.h"

namespace quantmoe {
namespace {

using nlohmann::json;

Refinement RefinementFromJson(const json& value) {
  return {IntegerAt<int>(value, "rounds"),
          IntegerAt<int>(value, "trials"),
          IntegerAt<int>(value, "accepted"),
          value.at("divergence_before").get<double>(),
          value.at("divergence_after").get<double>(),
          IntegerAt<int64_t>(value, "sequences"),
          IntegerAt<int64_t>(value, "tokens")};
}

PlanProtection ProtectionFromJson(const json& value) {
  return {IntegerAt<int>(value, "linears"), value.at("weights_share").get<double>(),
          value.at("bits").get<double>()};
}

PlanRisk RiskFromJson(const json& value) {
  return {value.at("risk").get<double>(), value.at("mean").get<double>(), value.at("cvar").get<double>(),
          value.at("lower_bound").get<double>(), IntegerAt<int>(value, "windows")};
}

PlanVerdict VerdictFromJson(const json& value) {
  return {value.at("heuristic").get<std::string>(), TailFiguresOf(value.at("plan")),
          TailFiguresOf(value.at("uniform")),       value.at("interval").at(0).get<double>(),
          value.at("interval").at(1).get<double>(), IntegerAt<int64_t>(value, "windows"),
          IntegerAt<int64_t>(value, "tokens"),      value.at("unseen").get<bool>(),
          value.at("plan_wins").get<bool>(),        value.at("plan_published").get<bool>()};
}

BitPlan PlanFromJson(const json& value) {
  BitPlan plan;
  plan.heuristic = value.at("heuristic").get<std::string>();
  plan.profile = value.at("profile").get<std::string>();
  plan.group_size = IntegerAt<int>(value, "group_size");
  plan.average_bits = value.at("average_bits").get<double>();
  plan.stored_bits = value.at("stored_bits").get<double>();
  plan.weight_file_bytes = IntegerAt<int64_t>(value, "weight_file_bytes");
  plan.loss = value.at("distortion").get<double>();
  plan.lower_bound = value.at("lower_bound").get<double>();
  plan.objective = value.value("objective", plan.objective);
  plan.unconstrained_loss = value.value("unconstrained_distortion", 0.0);
  plan.rank_bytes = IntegerOr<int64_t>(value, "rank_bytes", 0);
  plan.fallback_ratio = value.at("fallback_ratio").get<double>();
  if (value.contains("protection")) plan.protection = ProtectionFromJson(value["protection"]);
  if (value.contains("risk")) plan.risk = RiskFromJson(value["risk"]);
  if (value.contains("verdict")) plan.verdict = VerdictFromJson(value["verdict"]);
  if (value.contains("refined")) plan.refined = RefinementFromJson(value["refined"]);
  for (const json& item : value.at("linears")) {
    plan.linears.push_back({LinearFromJson(item.at("linear")), IntegerAt<int>(item, "bits"),
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

json RiskJson(const PlanRisk& risk) {
  return {{"risk", risk.risk},
          {"mean", risk.mean},
          {"cvar", risk.cvar},
          {"lower_bound", risk.lower_bound},
          {"windows", risk.windows}};
}

json VerdictJson(const PlanVerdict& verdict) {
  return {{"heuristic", verdict.heuristic},
          {"plan", TailFiguresJson(verdict.plan)},
          {"uniform", TailFiguresJson(verdict.uniform)},
          {"interval", {verdict.low, verdict.high}},
          {"windows", verdict.windows},
          {"tokens", verdict.tokens},
          {"unseen", verdict.unseen},
          {"plan_wins", verdict.plan_wins},
          {"plan_published", verdict.plan_published}};
}

json ProtectionJson(const PlanProtection& protection) {
  return {{"linears", protection.linears},
          {"weights_share", protection.weights_share},
          {"bits", protection.bits}};
}

bool SameWidths(const BitPlan& a, const BitPlan& b) {
  return std::equal(a.linears.begin(), a.linears.end(), b.linears.begin(), b.linears.end(),
                    [](const PlannedLinear& x, const PlannedLinear& y) { return x.width == y.width; });
}

std::string BitPlanToJson(const BitPlan& plan) {
  json linears = json::array();
  for (const PlannedLinear& planned : plan.linears) {
    linears.push_back({{"linear", LinearJson(planned.linear)},
                       {"bits", planned.width},
                       {"blob", DigestJson(planned.blob)},
                       {"distortion", planned.loss},
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
                {"distortion", plan.loss},
                {"lower_bound", plan.lower_bound},
                {"unconstrained_distortion", plan.unconstrained_loss},
                {"fallback_ratio", plan.fallback_ratio},
                {"linears", std::move(linears)}};
  if (plan.protection.linears > 0) value["protection"] = ProtectionJson(plan.protection);
  if (plan.risk) value["risk"] = RiskJson(*plan.risk);
  if (plan.verdict) value["verdict"] = VerdictJson(*plan.verdict);
  if (plan.refined) value["refined"] = RefinementJson(*plan.refined);
  return value.dump();
}

absl::StatusOr<BitPlan> BitPlanFromJson(absl::string_view text) {
  return DecodeJson<BitPlan>(text, "bit plan", PlanFromJson);
}

}  // namespace quantmoe
