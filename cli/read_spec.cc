#include "cli/read_spec.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "cli/job_file.h"
#include "cli/rule_flags.h"
#include "cli/task_flags.h"
#include "cli/value_text.h"
#include "plan/options/heuristic_names.h"
#include "plan/options/spec_files.h"
#include "plan/options/value_checks.h"

namespace quantmoe::cli {
namespace {

using Violations = std::vector<FieldViolation>;
using Strings = std::map<std::string, std::string>;

constexpr const char* kBudgetFlags[] = {"--bits", "--bytes", "--stored-bits", "--rank-bytes"};

// Sets the fields whose flags were typed.
class FlagReader {
 public:
  FlagReader(const TypedFlags& flags, GivenFields& given, Violations& violations)
      : flags_(flags), given_(given), violations_(violations) {}

  template <HasOptions Spec>
  void Read(Spec& spec, const std::string& path) {
    auto visit = [&](const OptionInfo& option, auto& value) {
      ReadOption(option, path.empty() ? option.name : absl::StrCat(path, ".", option.name), value);
    };
    VisitOptions(spec, visit);
  }

 private:
  template <typename T>
  void ReadOption(const OptionInfo& option, const std::string& path, T& value) {
    if constexpr (HasOptions<T>) {
      Read(value, path);
    } else {
      const std::string flag = FlagName(option);
      if (flag.empty() || !flags_.Has(flag)) return;
      given_[path] = flag;
      TakeFlag(option, flag, value);
    }
  }
  void ReadOption(const OptionInfo&, const std::string&, Digest&) {}  // files stand for them
  // The parts of a rank's budget count together.
  void ReadOption(const OptionInfo&, const std::string& path, std::optional<RankBudget>& value) {
    RankBudget budget = value.value_or(RankBudget{});
    Read(budget, path);
    if (given_.contains(path + ".max_bytes")) value = budget;
  }
  void ReadOption(const OptionInfo&, const std::string& path, std::vector<WidthRule>& rules) {
    ReadList(RuleFlags(), path, [&] { rules = ReadRules(flags_, violations_); });
  }
  void ReadOption(const OptionInfo&, const std::string& path, std::vector<BenchmarkTaskSpec>& tasks) {
    const bool named = flags_.Has("--tasks") || flags_.Has("--task") || flags_.Has("--fewshot");
    if (!named) return LimitTasks(flags_, tasks, violations_);
    ReadList(TaskFlags(), path, [&] { tasks = ReadTasks(flags_, violations_); });
  }

  template <typename ReadAll>
  void ReadList(const std::vector<OptionInfo>& list_flags, const std::string& path, ReadAll read) {
    for (const OptionInfo& option : list_flags) {
      if (!flags_.Has(option.flag)) continue;
      given_[path] = option.flag;
      return read();
    }
  }

  template <typename T>
  void TakeFlag(const OptionInfo& option, const std::string& flag, T& value) {
    const std::string text = flags_.Text(flag);
    Complain(flag, text == "both" ? "is given both ways" : TakeText(option, text, value));
    if constexpr (std::same_as<T, std::string>) {
      const bool names_file = option.typed == Typed::kAsFile || option.group == HelpGroup::kModel;
      if (names_file) value = AbsolutePath(value, "");
    }
  }
  void TakeFlag(const OptionInfo& option, const std::string& flag, std::vector<int>& values) {
    values.clear();
    for (const std::string& text : flags_.All(flag)) {
      for (const absl::string_view item : absl::StrSplit(text, ','))
        Complain(flag, TakeText(option, std::string(item), values.emplace_back()));
    }
  }
  void TakeFlag(const OptionInfo&, const std::string& flag, std::vector<std::string>& values) {
    values = flags_.All(flag);
  }
  // Those of the file stay beside them.
  void TakeFlag(const OptionInfo&, const std::string& flag, Strings& values) {
    Strings typed;
    for (const std::string& text : flags_.All(flag)) {
      const auto pair = SplitPair(text);
      if (!pair) {
        Complain(flag, NoPair(text));
      } else if (!typed.insert(*pair).second) {
        Complain(flag, absl::StrCat("'", pair->first, "' is given twice"));
      }
    }
    typed.merge(values);
    values = std::move(typed);
  }

  void Complain(const std::string& flag, std::string problem) {
    if (!problem.empty()) violations_.push_back({flag, std::move(problem)});
  }

  const TypedFlags& flags_;
  GivenFields& given_;
  Violations& violations_;
};

bool HasBudgetFlag(const TypedFlags& flags) {
  return std::any_of(std::begin(kBudgetFlags), std::end(kBudgetFlags),
                     [&](const char* flag) { return flags.Has(flag); });
}

void DropBudget(SpecInput& input) {
  input.spec.budget = {};
  std::erase_if(input.given, [](const auto& field) { return absl::StartsWith(field.first, "budget."); });
}

// What spends the budget, and the budget.
void DropChoice(SpecInput& input) {
  DropBudget(input);
  static_cast<HeuristicChoice&>(input.spec) = {};
  std::erase_if(input.given, [](const auto& field) { return absl::StartsWith(field.first, "heuristic."); });
}

void CheckLimit(const TypedFlags& flags, const JobSpec& spec, Violations& violations) {
  if (flags.Has("--limit") && spec.evaluation.tasks.empty())
    violations.push_back({"--limit", "says nothing without benchmarks: name them with --tasks or --task"});
}

void CheckNeeds(const SpecInput& input, const SpecNeeds& needs, Violations& violations) {
  const Budget& budget = input.spec.budget;
  const int set = budget.members_set();
  if (needs.budget && (set > 1 || (set == 0 && input.spec.preset.empty()))) {
    violations.push_back({"--bits", "give exactly one of --bits, --bytes, --stored-bits and --rank-bytes"});
  }
  const bool ranks = input.given.contains("budget.rank_bytes.ranks");
  if (budget.rank_bytes && !ranks)
    violations.push_back({"--ranks", "say how many ranks --rank-bytes is for"});
  if (needs.budget && ranks && !budget.rank_bytes) violations.push_back({"--ranks", kNoRanks});
  if (needs.model && !input.given.contains("model.uri")) {
    violations.push_back({"model", "is missing: name it, or a job file that does (-f)"});
  }
}

// Where the user gave a field that a violation names, "spec.gptq.widths[1]" by that of "gptq.widths".
std::string PlaceOfField(const GivenFields& given, absl::string_view field) {
  absl::ConsumePrefix(&field, "spec.");
  while (true) {
    if (const auto found = given.find(std::string(field)); found != given.end()) return found->second;
    const size_t end = field.find_last_of(".[");
    if (end == absl::string_view::npos) return "";
    field = field.substr(0, end);
  }
}

// Values that no server needs to see to know that they are wrong. What was not given is not judged here.
void CheckGiven(const SpecInput& input, Violations& violations) {
  JobSpec spec = input.spec;
  for (const SpecFile& file : FilesOf(spec)) {
    if (!file.uri->empty()) *file.digest = DigestOf("");  // it will have one
  }
  for (const FieldViolation& violation : CheckValues(spec)) {
    const std::string place = PlaceOfField(input.given, violation.field);
    if (place.empty()) continue;
    const bool in_flag = absl::StartsWith(place, "--") && !absl::StrContains(violation.field, '[');
    violations.push_back({place, in_flag
                                     ? violation.description
                                     : absl::StrCat(violation.field.substr(5), " ", violation.description)});
  }
}

// `flag` may be a place of the file.
absl::Status TakeOne(const SpecFile& file, const std::string& flag, const TakeFile& take, SpecInput& input,
                     Violations& violations) {
  const absl::StatusOr<std::optional<Digest>> digest = take(*file.uri);
  if (!digest.ok()) {
    const Violations bad = GetErrorInfo(digest.status()).violations;
    const bool of_input = absl::IsInvalidArgument(digest.status()) || absl::IsNotFound(digest.status());
    if (bad.empty() && (!of_input || absl::StrContains(*file.uri, "://")))
      return Annotate(digest.status(), flag);
    violations.push_back(
        {flag, bad.empty() ? std::string(digest.status().message()) : bad.front().description});
  } else if (*digest) {
    *file.digest = **digest;
    file.uri->clear();
    input.given[file.field.substr(5)] = flag;
  }
  return absl::OkStatus();
}

// Digests of lists are given with their list, under the flag that is for it.
absl::Status TakeAll(const TakeFile& take, SpecInput& input, Violations& violations) {
  for (const SpecFile& file : FilesOf(input.spec)) {
    if (file.uri->empty()) continue;
    std::string flag = PlaceOfField(input.given, file.uri_field);
    if (absl::EndsWith(file.field, ".fewshot_data") && absl::StartsWith(flag, "--")) flag = "--fewshot";
    RETURN_IF_ERROR(TakeOne(file, flag, take, input, violations));
  }
  return absl::OkStatus();
}

}  // namespace

FileInput ReadFileOf(const TypedFlags& typed) {
  FileInput file;
  if (typed.Has("--file")) ReadJobFile(typed.Text("--file"), file.input, file.violations);
  return file;
}

absl::StatusOr<SpecInput> ReadSpec(const TypedFlags& typed, const SpecNeeds& needs, const TakeFile& take) {
  return ReadSpec(ReadFileOf(typed), typed, needs, take);
}

absl::StatusOr<SpecInput> ReadSpec(FileInput file, const TypedFlags& typed, const SpecNeeds& needs,
                                   const TakeFile& take) {
  SpecInput input = std::move(file.input);
  Violations violations = std::move(file.violations);
  TypedFlags flags = typed;
  if (typed.Has("--budget")) {
    if (HasBudgetFlag(typed)) return InvalidFields({{"--budget", "is given with another budget"}});
    SetBudgetFlag(typed.Text("--budget"), flags);
  }
  if (!needs.choice_of_file) DropChoice(input);
  if (HasBudgetFlag(flags)) DropBudget(input);
  Violations of_flags;
  FlagReader(flags, input.given, of_flags).Read(input.spec, "");
  if (violations.empty()) CheckNeeds(input, needs, violations);
  if (violations.empty() && of_flags.empty()) CheckLimit(flags, input.spec, violations);
  violations.insert(violations.end(), of_flags.begin(), of_flags.end());
  if (input.spec.heuristic.empty() && input.spec.preset.empty()) {
    input.spec.heuristic = kOptimalHeuristic;
    input.given.emplace("heuristic.name", "--heuristic");
  }
  if (violations.empty()) CheckGiven(input, violations);
  const absl::Status taken = TakeAll(take, input, violations);
  RETURN_IF_ERROR(InvalidFields(std::move(violations)));
  RETURN_IF_ERROR(taken);
  return input;
}

absl::Status TakeFiles(const TakeFile& take, SpecInput& input) {
  Violations violations;
  absl::Status taken = TakeAll(take, input, violations);
  RETURN_IF_ERROR(InvalidFields(std::move(violations)));
  return taken;
}

absl::StatusOr<std::optional<Digest>> LeaveFile(const std::string&) { return std::nullopt; }

void SetBudgetFlag(const std::string& text, TypedFlags& flags) {
  double bits = 0;
  flags.Set(absl::SimpleAtod(text, &bits) ? "--bits" : "--bytes", text);
}

std::string AbsoluteModelUri(const std::string& model) { return AbsolutePath(model, ""); }

}  // namespace quantmoe::cli
