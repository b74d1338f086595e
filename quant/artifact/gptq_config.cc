#include "quant/artifact/gptq_config.h"

#include <map>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

#include "base/json.h"
#include "base/python_json.h"

namespace quantmoe {
namespace {

using Rules = nlohmann::ordered_json;

// The width of most expert weights among 4 and 8, which fused loaders can run; else the most common width.
int BaseWidth(const BitPlan& plan) {
  std::map<int, int64_t> all, fused;
  for (const PlannedLinear& p : plan.linears) {
    all[p.width] += p.linear.weights();
    if (IsExpert(p.linear.kind) && (p.width == 4 || p.width == 8)) fused[p.width] += p.linear.weights();
  }
  const auto& counts = fused.empty() ? all : fused;
  int best = counts.begin()->first;
  for (const auto& [width, weights] : counts) {
    if (weights > counts.at(best)) best = width;
  }
  return best;
}

std::string Escaped(const std::string& name) { return absl::StrReplaceAll(name, {{".", "\\."}}); }

// Linears that a fused loader joins: q, k, v; MLA's two projections to low ranks; gate and up of one MLP; all
// experts of a layer.
std::string FusedGroup(const Linear& linear) {
  const std::string parent = linear.name.substr(0, linear.name.rfind('.'));
  switch (linear.kind) {
    case LinearKind::kQuery:
    case LinearKind::kKey:
    case LinearKind::kValue:
      return absl::StrCat("^", Escaped(parent), "\\.(q_proj|k_proj|v_proj|qkv_proj)$");
    case LinearKind::kQueryA:
    case LinearKind::kKeyValueA:
      return absl::StrCat("^", Escaped(parent),
                          "\\.(q_a_proj|kv_a_proj_with_mqa|fused_qkv_a_proj|fused_qkv_a_proj_with_mqa)$");
    case LinearKind::kDenseGate:
    case LinearKind::kDenseUp:
    case LinearKind::kSharedGate:
    case LinearKind::kSharedUp:
      return absl::StrCat("^", Escaped(parent), "\\.(gate_proj|up_proj|gate_up_proj)$");
    case LinearKind::kExpertGate:
    case LinearKind::kExpertUp:
    case LinearKind::kExpertDown: {
      const std::string experts = parent.substr(0, parent.rfind('.'));
      return absl::StrCat("^", Escaped(experts), "(\\..*)?$");
    }
    default:
      return absl::StrCat("^", Escaped(linear.name), "$");
  }
}

// Next-token prediction layers are not quantized, and nothing beside the language model.
void ExemptWhatIsNotRun(const ModelSpec& spec, const std::vector<TensorInfo>& kept, Rules& rules) {
  for (const TensorInfo& tensor : kept) {
    const std::string module = ModuleNotRun(spec, tensor.name);
    if (!module.empty()) rules["-:^" + Escaped(module)] = Rules::object();
  }
}

Rules DynamicRules(const BitPlan& plan, int base_width, Rules rules) {
  std::map<std::string, std::set<std::pair<int, bool>>> widths;
  for (const PlannedLinear& p : plan.linears) widths[FusedGroup(p.linear)].insert({p.width, p.symmetric});
  for (const PlannedLinear& p : plan.linears) {
    if (p.width == base_width && p.symmetric) continue;
    const std::string group = FusedGroup(p.linear);
    const std::string pattern =
        widths.at(group).size() == 1 ? group : absl::StrCat("^", Escaped(p.linear.name), "$");
    Rules& rule = rules["+:" + pattern];
    rule = {{"bits", p.width}, {"group_size", plan.group_size}};
    if (!p.symmetric) rule["sym"] = false;
  }
  return rules;
}

// The spec may come from a manifest that somebody edited.
bool Says(const nlohmann::json& spec, const char* key, const char* text) {
  return spec.contains(key) && spec[key] == text;
}

double DampOf(const nlohmann::json& spec) {
  return spec.contains("damp") && spec["damp"].is_number() ? spec["damp"].get<double>() : 0.01;
}

}  // namespace

nlohmann::ordered_json GptqConfig(const BitPlan& plan, const ModelSpec& spec,
                                  const std::vector<TensorInfo>& kept, const nlohmann::json& gptq_spec,
                                  const std::string& version) {
  const int base_width = BaseWidth(plan);
  nlohmann::ordered_json config = {{"bits", base_width},
                                   {"group_size", plan.group_size},
                                   {"desc_act", false},
                                   {"sym", true},
                                   {"lm_head", false},
                                   {"method", "gptq"},
                                   {"quant_method", "gptq"},
                                   {"format", "gptq"},
                                   {"checkpoint_format", "gptq"},
                                   {"pack_dtype", "int32"}};
  Rules rules = Rules::object();
  ExemptWhatIsNotRun(spec, kept, rules);
  rules = DynamicRules(plan, base_width, std::move(rules));
  if (!rules.empty()) config["dynamic"] = std::move(rules);
  config["meta"] = {{"quantizer", {absl::StrCat("quantmoe:", version)}},
                    {"damp_percent", DampOf(gptq_spec)},
                    {"static_groups", !Says(gptq_spec, "order", "group")},
                    {"true_sequential", Says(gptq_spec, "propagation", "quantized")},
                    {"gptq", gptq_spec},
                    {"heuristic", plan.heuristic},
                    {"average_bits", plan.average_bits}};
  return config;
}

std::string QuantizedModelConfig(const std::string& source_config,
                                 const nlohmann::ordered_json& gptq_config) {
  nlohmann::ordered_json config = OwnOrderedJson(QuoteNonFinite(source_config));
  config["quantization_config"] = gptq_config;
  return UnquoteNonFinite(config.dump(2)) + "\n";
}

}  // namespace quantmoe
