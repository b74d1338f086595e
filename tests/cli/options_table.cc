#include "tests/cli/options_table.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

#include "cli/rule_flags.h"
#include "cli/task_flags.h"
#include "cli/value_text.h"
#include "plan/options/job_spec.h"
#include "plan/options/value_checks.h"

namespace quantmoe::cli {
namespace {

std::string Code(absl::string_view text) { return text.empty() ? "" : absl::StrCat("`", text, "`"); }

std::string ListedFlags(const std::vector<OptionInfo>& flags) {
  return absl::StrJoin(flags, ", ", [](std::string* out, const OptionInfo& option) {
    absl::StrAppend(out, Code(FlagName(option)));
  });
}

class Table {
 public:
  template <HasOptions Spec>
  void Visit(const Spec& defaults, const std::string& path) {
    auto visit = [&](const OptionInfo& option, const auto& value) {
      Add(option, path.empty() ? option.name : absl::StrCat(path, ".", option.name), value);
    };
    VisitOptions(defaults, visit);
  }
  std::string Take() { return std::move(text_); }

 private:
  template <typename T>
  void Add(const OptionInfo& option, const std::string& path, const T& value) {
    if constexpr (kIsOptional<T>) {
      if constexpr (HasOptions<typename T::value_type>) {
        Visit(typename T::value_type{}, path);
      } else {
        Row<typename T::value_type>(option, path, option.unset);
      }
    } else if constexpr (std::same_as<T, Digest>) {
      Row(path, "", "`{sha256, size_bytes}`", "", option.help);
    } else if constexpr (HasOptions<T>) {
      Visit(value, path);
    } else {
      Row<T>(option, path, DefaultText(option, value));
    }
  }
  void Add(const OptionInfo& option, const std::string& path, const std::vector<WidthRule>&) {
    Row(path, ListedFlags(RuleFlags()), "list", "", option.help);
    Visit(WidthRule{}, path + "[]");
  }
  void Add(const OptionInfo& option, const std::string& path, const std::vector<BenchmarkTaskSpec>&) {
    Row(path, ListedFlags(TaskFlags()), "list", "", option.help);
    Visit(BenchmarkTaskSpec{}, path + "[]");
  }

  template <typename T>
  void Row(const OptionInfo& option, const std::string& path, const std::string& standard) {
    std::string values = Code(ValueName<T>(option));
    if constexpr (std::is_arithmetic_v<T>) {
      const std::string range = RangeText(option.range, std::integral<T>);
      if (!range.empty()) absl::StrAppend(&values, ", ", range);
    }
    if (!option.choices.empty()) values = Code(absl::StrJoin(option.choices, ", "));
    std::string flag = absl::StrReplaceAll(option.flag, {{",!", "`, `"}});
    Row(path, Code(flag), values, standard, option.help);
  }
  void Row(const std::string& path, const std::string& flag, const std::string& values,
           const std::string& standard, const std::string& help) {
    absl::StrAppend(&text_, "| `", path, "` | ", flag, " | ", values, " | ", standard, " | ", help, " |\n");
  }

  std::string text_ =
      "| field | flag | values | default | meaning |\n"
      "|---|---|---|---|---|\n";
};

}  // namespace

std::string OptionsTable() {
  Table table;
  table.Visit(JobSpec{}, "");
  return table.Take();
}

}  // namespace quantmoe::cli
