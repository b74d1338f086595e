#include "quant/artifact/compressed_tensors.h"

#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

std::string Escaped(const std::string& name) { return absl::StrReplaceAll(name, {{".", "\\."}}); }

// Mixtral's block has another name in a checkpoint than in some runtimes.
std::string BothBlocks(const std::string& pattern) {
  for (const char* block : {"\\.block_sparse_moe\\.", "\\.mlp\\."}) {
    if (absl::StrContains(pattern, block))
      return absl::StrReplaceAll(pattern, {{block, "\\.(mlp|block_sparse_moe)\\."}});
  }
  return pattern;
}

const char* Projection(LinearKind kind) {
  if (kind == LinearKind::kExpertGate) return "(gate_proj|w1)";
  return kind == LinearKind::kExpertUp ? "(up_proj|w3)" : "(down_proj|w2)";
}

constexpr char kAnyProjection[] = "(gate_proj|up_proj|down_proj|w1|w2|w3)";

// "^model\.layers\.7\.(mlp|block_sparse_moe)\.experts\." of an expert's linear.
std::string ExpertsPrefix(const Linear& linear) {
  const std::string expert = linear.name.substr(0, linear.name.rfind('.'));
  return absl::StrCat("re:^", BothBlocks(Escaped(expert.substr(0, expert.rfind('.') + 1))));
}

// What the experts of one layer need: one pattern where all agree, else the experts of each width and kind.
class ExpertTargets {
 public:
  void Add(const PlannedLinear& planned) {
    prefix_ = ExpertsPrefix(planned.linear);
    experts_[planned.width][planned.linear.kind].insert(planned.linear.expert);
  }

  void AppendTo(std::map<int, std::vector<std::string>>& targets) const {
    if (experts_.size() == 1) {
      targets[experts_.begin()->first].push_back(absl::StrCat(prefix_, "\\d+\\.", kAnyProjection, "$"));
      return;
    }
    for (const auto& [width, kinds] : experts_) {
      for (const auto& [kind, experts] : kinds) {
        targets[width].push_back(
            absl::StrCat(prefix_, "(", absl::StrJoin(experts, "|"), ")\\.", Projection(kind), "$"));
      }
    }
  }

 private:
  std::string prefix_;
  std::map<int, std::map<LinearKind, std::set<int>>> experts_;
};

// Targets by width, in the order of the plan.
std::map<int, std::vector<std::string>> TargetsOf(const BitPlan& plan, const RuntimeProfile& profile) {
  std::map<int, std::vector<std::string>> targets;
  std::map<int, ExpertTargets> experts;
  std::set<int> expert_widths, widths;
  for (const PlannedLinear& p : plan.linears) {
    widths.insert(p.width);
    if (IsExpert(p.linear.kind)) expert_widths.insert(p.width);
  }
  if (widths.size() == 1) return {{*widths.begin(), {"Linear"}}};
  const bool class_target = profile.experts == ExpertSharing::kModel && expert_widths.size() == 1;
  for (const PlannedLinear& p : plan.linears) {
    if (class_target && p.width == *expert_widths.begin()) {
      targets[p.width] = {"Linear"};
    } else if (IsExpert(p.linear.kind)) {
      experts[p.linear.layer].Add(p);
    } else {
      targets[p.width].push_back(p.linear.name);
    }
  }
  for (const auto& [layer, patterns] : experts) patterns.AppendTo(targets);
  return targets;
}

Json GroupOf(std::vector<std::string> targets, int width, int group_size) {
  return {{"targets", std::move(targets)},
          {"format", "pack-quantized"},
          {"input_activations", nullptr},
          {"output_activations", nullptr},
          {"weights",
           {{"num_bits", width},
            {"type", "int"},
            {"symmetric", true},
            {"strategy", "group"},
            {"group_size", group_size},
            {"dynamic", false},
            {"actorder", nullptr}}}};
}

// Modules with a matrix that is neither the embedding nor quantized. Layers past the last one
// and what is beside the language model are an entry each.
std::vector<std::string> Ignored(const ModelSpec& spec, const std::vector<TensorInfo>& kept) {
  std::set<std::string> names = {std::string(spec.names.head)};
  for (const TensorInfo& tensor : kept) {
    const std::string not_run = ModuleNotRun(spec, tensor.name);
    if (!not_run.empty()) {
      names.insert("re:^" + Escaped(not_run));
    } else if (tensor.shape.size() == 2 && absl::EndsWith(tensor.name, ".weight") &&
               tensor.name != TensorNames::Embedding(spec)) {
      const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
      names.insert(module);
      names.insert(absl::StrReplaceAll(module, {{".block_sparse_moe.", ".mlp."}}));
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace

Json CompressedTensorsConfig(const BitPlan& plan, const RuntimeProfile& profile, const ModelSpec& spec,
                             const std::vector<TensorInfo>& kept) {
  Json groups = Json::object();
  // A group for the class comes first: readers that look at one group only look at the first.
  std::map<int, std::vector<std::string>> targets = TargetsOf(plan, profile);
  const auto add = [&](int width, std::vector<std::string> names) {
    groups[absl::StrCat("group_", groups.size())] = GroupOf(std::move(names), width, plan.group_size);
  };
  for (auto it = targets.begin(); it != targets.end(); ++it) {
    if (it->second.front() != "Linear") continue;
    add(it->first, it->second);
    targets.erase(it);
    break;
  }
  for (auto& [width, names] : targets) add(width, std::move(names));
  return {{"quant_method", "compressed-tensors"}, {"format", "pack-quantized"},
          {"quantization_status", "compressed"},  {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr},  {"ignore", Ignored(spec, kept)},
          {"config_groups", std::move(groups)}};
}

}  // namespace quantmoe
