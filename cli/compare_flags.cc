#include "cli/compare_flags.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/error_info.h"
#include "base/uniform_label.h"

namespace quantmoe::cli {
namespace {

struct ComparedBudget {
  std::string typed, title;
  std::string flag;  // that gives a job this budget
};

std::vector<ComparedBudget> BudgetsOf(const CompareFlags& flags) {
  std::vector<ComparedBudget> budgets;
  const auto add = [&budgets](const std::string& typed, const char* flag, const char* unit) {
    double number = 0;
    const std::string value = absl::SimpleAtod(typed, &number) ? absl::StrCat(number) : typed;
    budgets.push_back({typed, absl::StrCat(value, unit), flag});
  };
  for (const std::string& budget : flags.budgets) {
    double bits = 0;
    absl::SimpleAtod(budget, &bits) ? add(budget, "--bits", " bits") : add(budget, "--bytes", "");
  }
  for (const std::string& bits : flags.stored_bits) add(bits, "--stored-bits", " stored bits");
  for (const std::string& bytes : flags.bytes) budgets.push_back({bytes, bytes, "--bytes"});
  for (const std::string& bytes : flags.rank_bytes)
    budgets.push_back({bytes, absl::StrCat(bytes, " a rank"), "--rank-bytes"});
  return budgets;
}

// Gathers what is wrong, each thing once.
class Complaints {
 public:
  void Add(FieldViolation violation) {
    if (std::find(violations_.begin(), violations_.end(), violation) == violations_.end())
      violations_.push_back(std::move(violation));
  }
  // Errors that are about no field are kept as they are; the first of them counts.
  void Add(const absl::Status& status) {
    const std::vector<FieldViolation> violations = GetErrorInfo(status).violations;
    if (violations.empty()) other_.Update(status);
    for (const FieldViolation& violation : violations) Add(violation);
  }
  absl::Status Result() const { return violations_.empty() ? other_ : InvalidFields(violations_); }

 private:
  std::vector<FieldViolation> violations_;
  absl::Status other_;
};

void CheckDistinct(const std::vector<std::string>& values, const char* flag, Complaints& complaints) {
  std::set<std::string> seen;
  for (const std::string& value : values) {
    if (!seen.insert(value).second) complaints.Add({flag, absl::StrCat("'", value, "' is given twice")});
  }
}

void CheckBudgets(const std::vector<ComparedBudget>& budgets, Complaints& complaints) {
  if (budgets.empty()) {
    complaints.Add({"--bits", "give budgets with --bits, --bytes, --stored-bits or --rank-bytes"});
  }
  std::set<std::string> seen;
  for (const ComparedBudget& budget : budgets) {
    if (seen.insert(budget.title).second) continue;
    complaints.Add({budget.flag, absl::StrCat("'", budget.typed, "' is given twice")});
  }
}

bool Names(const std::vector<std::string>& heuristics, const std::string& name) {
  return std::any_of(heuristics.begin(), heuristics.end(),
                     [&](const std::string& one) { return one.substr(0, one.find(':')) == name; });
}

// Whether a plan of one width spends all of it.
bool IsFilledByUniform(const ComparedBudget& budget, const std::vector<int>& asked_widths) {
  double bits = 0;
  if (budget.flag != "--bits" || !absl::SimpleAtod(budget.typed, &bits)) return false;
  const std::vector<int> widths = asked_widths.empty() ? std::vector<int>{2, 3, 4, 8} : asked_widths;
  return std::find(widths.begin(), widths.end(), bits) != widths.end();
}

// With the control of equal bytes, where uniform plans are asked and none fills the budget.
std::vector<std::string> HeuristicsAt(const CompareFlags& flags, const ComparedBudget& budget,
                                      const std::vector<int>& widths) {
  std::vector<std::string> heuristics = flags.heuristics;
  if (!flags.no_control && Names(heuristics, kUniformHeuristic) && !Names(heuristics, kEqualBytesControl) &&
      !IsFilledByUniform(budget, widths)) {
    heuristics.push_back(kEqualBytesControl);
  }
  return heuristics;
}

absl::StatusOr<SpecInput> ReadOne(const CompareFlags& flags, const FileInput& file,
                                  const ComparedBudget& budget, const std::string& heuristic,
                                  const TakeFile& take) {
  const std::vector<std::string> parts = absl::StrSplit(heuristic, ':');
  TypedFlags one = flags.spec;
  if (budget.flag != "--rank-bytes") one.texts.erase("--ranks");  // is for the others
  one.Set(budget.flag, budget.typed);
  one.Set("--heuristic", parts.front());
  if (parts.size() > 1) {
    std::vector<std::string>& params = one.texts["--param"];
    params.insert(params.end(), parts.begin() + 1, parts.end());
  }
  return ReadSpec(file, one, {.choice_of_file = false}, take);
}

// What all jobs have in common.
absl::StatusOr<SpecInput> ReadSharedSpec(const CompareFlags& flags, const FileInput& file,
                                         const TakeFile& take) {
  return ReadSpec(file, flags.spec, {.model = true, .budget = false, .choice_of_file = false}, take);
}

AddedFlag AddList(Command command, const std::string& name, std::vector<std::string>& values,
                  const std::string& help) {
  return command.Add(name, values, help).SplitAt(',').OneValueEach();
}

}  // namespace

void AddCompareFlags(Command command, CompareFlags& flags) {
  AddSpecFlags(command, flags.spec, {.wants = IsShared});
  command.BeginGroup("Options");
  AddList(command, "--heuristics", flags.heuristics,
          "What spends the budgets: NAME or NAME:KEY=VALUE..., such as optimal,random:seed=1,random:seed=2")
      .ShowDefault();
  AddList(
      command, "--bits,--budgets", flags.budgets,
      "Budgets as average widths of the quantized linears (2.5,3) or as sizes of the weight files (400MB)");
  AddList(command, "--bytes", flags.bytes, "Budgets as sizes of the weight files, such as 10GiB,12GiB");
  AddList(command, "--stored-bits", flags.stored_bits, "Budgets as bits with scales and zero points");
  AddList(command, "--rank-bytes", flags.rank_bytes, "Budgets as bytes on the fullest of --ranks ranks");
  command.AddSwitch(
      "--no-control", flags.no_control,
      "Leave out in-order, the control of equal bytes that is added where no uniform plan fills a "
      "budget");
}

absl::StatusOr<std::vector<ComparedSpec>> ReadComparedSpecs(const CompareFlags& flags, const TakeFile& take) {
  const std::vector<ComparedBudget> budgets = BudgetsOf(flags);
  Complaints complaints;
  CheckDistinct(flags.heuristics, "--heuristics", complaints);
  CheckBudgets(budgets, complaints);
  if (flags.spec.Has("--ranks") && flags.rank_bytes.empty()) complaints.Add({"--ranks", kNoRanks});
  const FileInput file = ReadFileOf(flags.spec);
  const absl::StatusOr<SpecInput> shared = ReadSharedSpec(flags, file, take);
  complaints.Add(shared.status());
  const std::vector<int> widths = shared.ok() ? shared->spec.gptq.widths : std::vector<int>();
  std::vector<ComparedSpec> specs;
  for (const ComparedBudget& budget : budgets) {
    for (const std::string& heuristic : HeuristicsAt(flags, budget, widths)) {
      absl::StatusOr<SpecInput> input = ReadOne(flags, file, budget, heuristic, take);
      complaints.Add(input.status());
      if (input.ok()) specs.push_back({heuristic, budget.typed, budget.title, *std::move(input)});
    }
  }
  const absl::Status wrong = complaints.Result();
  if (!wrong.ok()) return wrong;
  return specs;
}

}  // namespace quantmoe::cli
