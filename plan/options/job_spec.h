// What a job is asked to do, without protobuf: the same struct drives the service and quantmoe-local. The
// message JobSpec of proto/quantmoe/v1/types.proto documents the meaning of its fields.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/options/budget_spec.h"
#include "plan/options/calibration_spec.h"
#include "plan/options/evaluation_spec.h"
#include "plan/options/gptq_spec.h"
#include "plan/options/heuristic_names.h"
#include "plan/options/option.h"
#include "plan/options/publish_choice.h"
#include "plan/options/width_rule.h"

namespace quantmoe {

inline constexpr int kMaxEffort = 100'000;

// Where the model lives. In canonical JSON it stands alone, as `model_uri`.
struct ModelChoice {
  std::string model_uri;

  friend bool operator==(const ModelChoice&, const ModelChoice&) = default;
};

template <SpecOf<ModelChoice> Spec, typename Visit>
void VisitOptions(Spec& model, Visit& visit) {
  visit(OptionInfo{.name = "uri",
                   .flag = "--model",
                   .group = HelpGroup::kModel,
                   .help = "Directory or URI of the model",
                   .value = "MODEL_URI",
                   .kept = Kept::kAlways},
        model.model_uri);
}

// What spends the budget.
struct HeuristicChoice {
  std::string heuristic;
  std::map<std::string, std::string> heuristic_params;
  std::string preset;  // ApplyPreset replaces it by the two above

  friend bool operator==(const HeuristicChoice&, const HeuristicChoice&) = default;
};

template <SpecOf<HeuristicChoice> Spec, typename Visit>
void VisitOptions(Spec& choice, Visit& visit) {
  visit(OptionInfo{.name = "name",
                   .flag = "--heuristic",
                   .group = HelpGroup::kPlan,
                   .help = "What spends the budget; see `quantmoe heuristics`",
                   .unset = kOptimalHeuristic,
                   .kept = Kept::kAlways,
                   .tasks = kChoiceTasks,
                   .task_key = "heuristic"},
        choice.heuristic);
  visit(OptionInfo{.name = "preset",
                   .flag = "--preset",
                   .group = HelpGroup::kPlan,
                   .help = "A published configuration; see `quantmoe heuristics`",
                   .kept = Kept::kNever},
        choice.preset);
  visit(OptionInfo{.name = "params",
                   .flag = "--param",
                   .group = HelpGroup::kPlan,
                   .help = "Parameter of the heuristic",
                   .value = "KEY=VALUE",
                   .kept = Kept::kAlways,
                   .tasks = kChoiceTasks},
        choice.heuristic_params);
}

// Members that are 0 or empty mean defaults that ResolveJob fills in.
struct JobSpec : ModelChoice, HeuristicChoice {
  Budget budget;
  GptqSpec gptq;
  CalibrationSpec calibration;
  EvaluationSpec evaluation;
  std::string runtime_profile = "gptqmodel";
  std::vector<WidthRule> rules;
  std::optional<bool> protect_super_experts = {};  // unset: yes
  std::optional<int> effort = {};  // passes; unset: DefaultEffort (plan/graph/search_rounds.h)
  PublishChoice publish = PublishChoice::kWinner;

  friend bool operator==(const JobSpec&, const JobSpec&) = default;
};

// The base of `spec`, as constant as itself.
template <typename Base, SpecOf<JobSpec> Spec>
auto& PartOf(Spec& spec) {
  return static_cast<std::conditional_t<std::is_const_v<Spec>, const Base, Base>&>(spec);
}

template <SpecOf<JobSpec> Spec, typename Visit>
void VisitOptions(Spec& spec, Visit& visit) {
  visit(OptionInfo{.name = "model", .kept = Kept::kAlways}, PartOf<ModelChoice>(spec));
  visit(OptionInfo{.name = "budget", .kept = Kept::kAlways, .tasks = kChoiceTasks}, spec.budget);
  visit(OptionInfo{.name = "heuristic", .kept = Kept::kAlways}, PartOf<HeuristicChoice>(spec));
  visit(OptionInfo{.name = "runtime_profile",
                   .flag = "--profile",
                   .group = HelpGroup::kPlan,
                   .help = "Target loader; see `quantmoe profiles`",
                   .kept = Kept::kAlways,
                   .tasks = kChoiceTasks,
                   .task_key = "profile"},
        spec.runtime_profile);
  visit(OptionInfo{.name = "rules",
                   .help = "Bounds of the width of the linears that a pattern matches",
                   .kept = Kept::kAlways,
                   .tasks = kChoiceTasks},
        spec.rules);
  visit(
      OptionInfo{.name = "protect_super_experts",
                 .flag = "--protect-super-experts,!--no-protect-super-experts",
                 .group = HelpGroup::kPlan,
                 .help = "Keep the down projections that make massive activations at the largest width that "
                         "the budget has room for",
                 .unset = "yes",
                 .tasks = kChoiceTasks},
      spec.protect_super_experts);
  visit(OptionInfo{.name = "publish",
                   .flag = "--publish",
                   .group = HelpGroup::kPlan,
                   .help =
                       "winner: the plan of `optimal` only where it beats the uniform one on held-out text; "
                       "plan: whatever the verdict says",
                   .tasks = kVerdictTasks},
        spec.publish);
  visit(OptionInfo{.name = "effort",
                   .flag = "--effort",
                   .group = HelpGroup::kPlan,
                   .help = "Passes over a sample that the search for the plan of `optimal` may take; 0: the "
                           "plan of the losses alone",
                   .unset = "as long as forward and solve together: a round at least, 150 passes at most",
                   .range = Between(0, kMaxEffort)},
        spec.effort);
  visit(OptionInfo{.name = "gptq", .kept = Kept::kAlways}, spec.gptq);
  visit(OptionInfo{.name = "calibration", .kept = Kept::kAlways}, spec.calibration);
  visit(OptionInfo{.name = "evaluation", .kept = Kept::kAlways}, spec.evaluation);
}

// Whether plans keep super experts whole: by default, or because a rule names them (`--protect
// super-experts`).
inline bool ProtectsSuperExperts(const JobSpec& spec) {
  for (const WidthRule& rule : spec.rules) {
    if (rule.pattern == kSuperExpertsPattern) return true;
  }
  return spec.protect_super_experts.value_or(true);
}

}  // namespace quantmoe
