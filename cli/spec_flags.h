// The flags that describe a job, made from the entries of its options. `quantmoe` and `quantmoe-local` have
// the same ones; what they mean is in read_spec.h.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/typed_flags.h"
#include "plan/options/option.h"

namespace CLI {
class App;
}

namespace quantmoe::cli {

// Which flags a command has.
struct FlagChoice {
  bool model = true;  // as --model, or without the flag
  bool job_file = true;
  std::function<bool(const OptionInfo& option)> wants = [](const OptionInfo&) { return true; };
};
// All but the budget, the heuristic and its preset: what the jobs of a comparison have in common.
bool IsShared(const OptionInfo& option);
// What decides a plan: budget, heuristic, profile, rules.
bool IsOfPlan(const OptionInfo& option);

// `flags` must outlive the parse.
void AddSpecFlags(CLI::App& command, TypedFlags& flags, const FlagChoice& choice = {});

// Joins the value of a flag of yes or no that is typed apart from it, "--gate-weighted true", so that none is
// taken for an argument.
std::vector<std::string> JoinSwitchValues(std::vector<std::string> arguments);

}  // namespace quantmoe::cli
