// Specs in which an option, or every one, has another value than its default: for tests that walk all of
// them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

#include "plan/options/job_spec.h"

namespace quantmoe {

using Wanted = std::function<bool(const std::string& path)>;

inline std::string PathBelow(const std::string& path, const OptionInfo& option) {
  return path.empty() ? option.name : absl::StrCat(path, ".", option.name);
}

template <HasOptions Spec>
void MakeUnusual(Spec& spec, const std::string& path, const Wanted& wanted);

inline void Change(const OptionInfo&, int& value) { value += 3; }
inline void Change(const OptionInfo&, int64_t& value) { value += 4096; }
inline void Change(const OptionInfo&, double& value) { value += 0.125; }
inline void Change(const OptionInfo&, bool& value) { value = !value; }
inline void Change(const OptionInfo& option, std::string& value) {
  value = option.choices.empty() ? absl::StrCat("/other-", option.name) : std::string(option.choices.front());
}
inline void Change(const OptionInfo&, Digest& value) { value = {std::string(64, 'a'), 7}; }
inline void Change(const OptionInfo&, std::vector<int>& values) { values = {4, 2}; }
inline void Change(const OptionInfo&, std::vector<std::string>& values) {
  values = {"zebra", "ape", "zebra"};
}
inline void Change(const OptionInfo&, std::map<std::string, std::string>& values) {
  values = {{"count", "5"}};
}
template <NamedChoice E>
void Change(const OptionInfo&, E& value) {
  value = static_cast<E>((static_cast<size_t>(value) + 1) % ChoiceNames(E{}).size());
}
template <HasOptions T>
void Change(const OptionInfo&, std::vector<T>& values) {
  MakeUnusual(values.emplace_back(), "", [](const std::string&) { return true; });
}

// Gives every option below `path` whose own path `wanted` accepts another value.
template <HasOptions Spec>
void MakeUnusual(Spec& spec, const std::string& path, const Wanted& wanted) {
  auto visit = [&](const OptionInfo& option, auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    const std::string below = PathBelow(path, option);
    if constexpr (std::same_as<T, Digest> || (!HasOptions<T> && !kIsOptional<T>)) {
      if (wanted(below)) Change(option, value);
    } else if constexpr (HasOptions<T>) {
      MakeUnusual(value, below, wanted);
    } else if constexpr (std::same_as<T, std::optional<RankBudget>>) {
      RankBudget budget;
      MakeUnusual(budget, below, wanted);
      if (budget != RankBudget{}) value = budget;
    } else {
      if (wanted(below)) Change(option, value.emplace());
    }
  };
  VisitOptions(spec, visit);
}

// The paths of all options; lists of specs are one.
inline std::vector<std::string> OptionPaths() {
  std::vector<std::string> paths;
  JobSpec spec;
  MakeUnusual(spec, "", [&paths](const std::string& path) {
    paths.push_back(path);
    return false;
  });
  return paths;
}

inline JobSpec UnusualAt(const std::string& path) {
  JobSpec spec;
  MakeUnusual(spec, "", [&path](const std::string& one) { return one == path; });
  return spec;
}

// All at once, with the budget that has the most parts: a job has one.
inline JobSpec UnusualEverywhere() {
  JobSpec spec;
  MakeUnusual(spec, "", [](const std::string& path) {
    return path.rfind("budget.", 0) != 0 || path.rfind("budget.rank_bytes.", 0) == 0;
  });
  return spec;
}

}  // namespace quantmoe
