#include "cli/spec_flags.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>

#include "cli/rule_flags.h"
#include "cli/task_flags.h"
#include "cli/value_text.h"
#include "plan/options/job_spec.h"

namespace quantmoe::cli {
namespace {

const char* Title(HelpGroup group) {
  switch (group) {
    case HelpGroup::kBudget:
      return "Budget (give one of them)";
    case HelpGroup::kPlan:
      return "Plan";
    case HelpGroup::kQuantization:
      return "Quantization";
    case HelpGroup::kCalibration:
      return "Calibration";
    case HelpGroup::kEvaluation:
      return "Evaluation";
    case HelpGroup::kModel:
      break;
  }
  return "Options";
}

class FlagAdder {
 public:
  FlagAdder(CLI::App& command, TypedFlags& flags, const FlagChoice& choice)
      : command_(command), texts_(flags.texts), choice_(choice) {}

  void AddAll() {
    AddModel();
    if (choice_.job_file) {
      command_
          .add_option_function<std::string>(
              "-f,--file", [texts = &texts_](const std::string& text) { (*texts)["--file"] = {text}; },
              "Job file (YAML or JSON) whose fields the flags complete or replace; - reads standard input")
          ->type_name("FILE");
    }
    const JobSpec defaults;
    Visit(defaults);
    AddEitherBudget();
    command_.option_defaults()->group("Options");
  }

 private:
  void AddModel() {
    if (!choice_.model) return;
    CLI::Option* option = command_.add_option_function<std::string>(
        "--model,model", [texts = &texts_](const std::string& text) { (*texts)["--model"] = {text}; },
        "Directory or URI of the model");
    option->type_name("MODEL_URI");
  }

  // Bits or bytes in one flag; not in the help.
  void AddEitherBudget() {
    constexpr OptionInfo kBudget{.name = "budget", .flag = "--budget", .group = HelpGroup::kBudget};
    if (!choice_.wants(kBudget)) return;
    command_
        .add_option_function<std::string>(
            kBudget.flag, [texts = &texts_](const std::string& text) { (*texts)["--budget"] = {text}; })
        ->group("");
  }

  template <HasOptions Spec>
  void Visit(const Spec& defaults) {
    auto visit = [this](const OptionInfo& option, const auto& value) { this->Add(option, value); };
    VisitOptions(defaults, visit);
  }

  template <typename T>
  void Add(const OptionInfo& option, const T& value) {
    if constexpr (kIsOptional<T>) {
      Add(option, typename T::value_type{}, /*has_default=*/false);
    } else {
      Add(option, value, /*has_default=*/true);
    }
  }
  void Add(const OptionInfo&, const std::vector<WidthRule>&) { AddCompound(RuleFlags()); }
  void Add(const OptionInfo&, const std::vector<BenchmarkTaskSpec>&) { AddCompound(TaskFlags()); }
  void Add(const OptionInfo&, const Digest&) {}

  template <typename T>
  void Add(const OptionInfo& option, const T& value, bool has_default) {
    if constexpr (HasOptions<T>) {
      Visit(value);
    } else {
      if (option.flag[0] == '\0' || option.group == HelpGroup::kModel || !choice_.wants(option)) return;
      const std::string standard = has_default || option.unset[0] != '\0' ? DefaultText(option, value) : "";
      AddFlag<T>(option,
                 standard.empty() ? option.help : absl::StrCat(option.help, " (default: ", standard, ")"));
    }
  }

  void AddCompound(const std::vector<OptionInfo>& flags) {
    for (const OptionInfo& option : flags) {
      if (!choice_.wants(option)) continue;
      if (absl::StrContains(option.help, "; repeatable")) {
        AddRepeated(option, option.help);
      } else {
        AddFlag<std::string>(option, option.help);
      }
    }
  }

  template <typename T>
  void AddFlag(const OptionInfo& option, const std::string& help) {
    command_.option_defaults()->group(Title(option.group));
    if constexpr (std::same_as<T, bool>) {
      AddSwitch(option, help);
    } else if constexpr (std::same_as<T, std::vector<int>>) {
      AddRepeated(option, help)->delimiter(',');
    } else if constexpr (std::same_as<T, std::vector<std::string>> ||
                         std::same_as<T, std::map<std::string, std::string>>) {
      AddRepeated(option, absl::StrCat(help, "; repeatable"));
    } else {
      command_
          .add_option_function<std::string>(
              option.flag,
              [texts = &texts_, name = FlagName(option)](const std::string& text) {
                (*texts)[name] = {text};
              },
              help)
          ->type_name(ValueName<T>(option));
    }
  }

  // One value for each occurrence, so that an argument without a flag may follow.
  CLI::Option* AddRepeated(const OptionInfo& option, const std::string& help) {
    command_.option_defaults()->group(Title(option.group));
    return command_
        .add_option_function<std::vector<std::string>>(
            option.flag,
            [texts = &texts_, name = FlagName(option)](const std::vector<std::string>& all) {
              (*texts)[name] = all;
            },
            help)
        ->allow_extra_args(false)
        ->type_name(ValueName<std::string>(option));
  }

  // The sum of both forms is 0 when they contradict each other.
  void AddSwitch(const OptionInfo& option, const std::string& help) {
    command_.add_flag_function(
        option.flag,
        [texts = &texts_, name = FlagName(option)](int64_t sum) {
          (*texts)[name] = {sum > 0 ? "true" : sum < 0 ? "false" : "both"};
        },
        help);
  }

  CLI::App& command_;
  std::map<std::string, std::vector<std::string>>& texts_;
  const FlagChoice& choice_;
};

// Names of the flags of yes or no.
std::vector<std::string> Switches() {
  std::vector<std::string> names;
  const JobSpec defaults;
  const auto collect = [&names](const auto& self, const auto& spec) -> void {
    auto visit = [&](const OptionInfo& option, const auto& value) {
      using T = std::remove_cvref_t<decltype(value)>;
      if constexpr (std::same_as<T, bool> || std::same_as<T, std::optional<bool>>) {
        if (option.flag[0] != '\0') names.push_back(FlagName(option));
      } else if constexpr (HasOptions<T>) {
        self(self, value);
      }
    };
    VisitOptions(spec, visit);
  };
  collect(collect, defaults);
  return names;
}

}  // namespace

bool IsShared(const OptionInfo& option) {
  const absl::string_view flag = option.flag;
  return option.group != HelpGroup::kBudget && flag != "--heuristic" && flag != "--preset";
}

bool IsOfPlan(const OptionInfo& option) {
  const bool measures = absl::string_view(option.flag) == "--effort";
  return option.group == HelpGroup::kBudget || (option.group == HelpGroup::kPlan && !measures);
}

void AddSpecFlags(CLI::App& command, TypedFlags& flags, const FlagChoice& choice) {
  FlagAdder(command, flags, choice).AddAll();
}

std::vector<std::string> JoinSwitchValues(std::vector<std::string> arguments) {
  const std::vector<std::string> switches = Switches();
  std::vector<std::string> joined;
  for (std::string& argument : arguments) {
    const bool value = argument == "true" || argument == "false";
    if (value && !joined.empty() &&
        std::find(switches.begin(), switches.end(), joined.back()) != switches.end()) {
      absl::StrAppend(&joined.back(), "=", argument);
    } else {
      joined.push_back(std::move(argument));
    }
  }
  return joined;
}

}  // namespace quantmoe::cli
