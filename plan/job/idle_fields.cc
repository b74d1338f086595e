#include "plan/job/idle_fields.h"

#include "absl/strings/str_cat.h"

#include "plan/heuristics/global_heuristics.h"
#include "plan/heuristics/heuristic.h"
#include "plan/job/shipped_prose.h"

namespace quantmoe {
namespace {

struct IdleField {
  const char* field;
  const char* because;
  bool (*is_idle)(const JobSpec& spec);
};

constexpr char kSkipped[] = "evaluation.skip leaves the measurement out";

constexpr IdleField kIdleFields[] = {
    {"evaluation.window", kSkipped,
     [](const JobSpec& spec) { return spec.evaluation.skip && spec.evaluation.window != 0; }},
    {"evaluation.perplexity_text", kSkipped,
     [](const JobSpec& spec) {
       const std::string& text = spec.evaluation.perplexity_text.sha256;
       return spec.evaluation.skip && !text.empty() && text != DigestOf(ShippedHeldoutProse()).sha256;
     }},
    {"evaluation.tasks", kSkipped,
     [](const JobSpec& spec) { return spec.evaluation.skip && !spec.evaluation.tasks.empty(); }},
    {"effort", "only the heuristic optimal searches",
     [](const JobSpec& spec) {
       const Heuristic* const chosen = FindHeuristic(spec.heuristic);
       return spec.effort.value_or(0) > 0 && chosen != nullptr && chosen->run != Optimal;
     }},
    {"gptq.correction", "gptq.propagation is not quantized",
     [](const JobSpec& spec) {
       return spec.gptq.propagation != Propagation::kQuantized &&
              spec.gptq.correction != GptqSpec().correction;
     }},
};

}  // namespace

std::vector<std::string> WarnOfIdleFields(const JobSpec& spec) {
  std::vector<std::string> warnings;
  for (const IdleField& idle : kIdleFields) {
    if (!idle.is_idle(spec)) continue;
    warnings.push_back(absl::StrCat(idle.field, " has no effect: ", idle.because));
  }
  return warnings;
}

}  // namespace quantmoe
