// What is known of a job option beside its value. Every spec of this folder names each of its members once,
// in VisitOptions, with such an entry; canonical JSON, task parameters, the wire format, checks, flags, job
// files and docs/options.md all follow from the entries.
#pragma once

#include <array>
#include <concepts>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Under which title --help lists a flag.
enum class HelpGroup { kModel, kBudget, kPlan, kQuantization, kCalibration, kEvaluation };

// When an option stands in documents that are kept or published: the canonical JSON of a spec and the
// parameters of tasks.
enum class Kept {
  kUnlessDefault,  // of every new option, so that keys and bytes of earlier jobs stay what they are
  kAlways,
  kNever,  // input alone: before a job exists it is replaced by what it stands for
};

// Which tasks get an option as a parameter. Bits.
enum TaskSet : unsigned {
  kNoTasks = 0,
  kPrepareTasks = 1 << 0,
  kForwardTasks = 1 << 1,
  kSolveTasks = 1 << 2,       // both passes
  kSecondPassTasks = 1 << 3,  // what only the solve behind quantized layers needs
  kProbeTasks = 1 << 4,
  kPredictTasks = 1 << 5,
  kChoiceTasks = 1 << 6,  // allocate and refine
  kAssembleTasks = 1 << 7,
  kVerdictTasks = 1 << 8,
};

// How a value is typed.
enum class Typed {
  kPlainly,
  kAsSize,  // bytes with an optional unit, such as 10GiB
  kAsFile,  // a local file, or hf://datasets/owner/name@revision/path
};

// The values of a number.
struct Range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool open = false;  // `least` itself does not belong to it
};
constexpr Range Between(double least, double most) { return {least, most, false}; }
constexpr Range AtLeast(double least) { return {.least = least}; }
constexpr Range Above(double least) { return {.least = least, .open = true}; }
constexpr Range AboveUpTo(double least, double most) { return {least, most, true}; }

struct OptionInfo {
  const char* name;       // of the proto field, and in JSON and job files
  const char* flag = "";  // as CLI11 takes it: "--damp", or with its opposite "--add-bos,!--no-add-bos"
  HelpGroup group = HelpGroup::kQuantization;
  const char* help = "";   // one sentence without a full stop
  const char* unset = "";  // what the default means, where the value does not say it
  const char* value = "";  // how help calls the value: "FILE"
  Range range = {};
  std::span<const absl::string_view> choices = {};  // of texts; enums have theirs
  bool required = false;                            // a digest that must be there
  Kept kept = Kept::kUnlessDefault;
  unsigned tasks = kNoTasks;  // TaskSet
  const char* task_key = "";  // of the parameter, where it is not the name
  Typed typed = Typed::kPlainly;
};

template <typename T, typename Spec>
concept SpecOf = std::same_as<std::remove_const_t<T>, Spec>;

struct NoVisitor {
  void operator()(const OptionInfo&, auto&) {}
};
// A spec: its VisitOptions(spec, visit) calls visit(entry, member) for every member, specs within it
// included.
template <typename T>
concept HasOptions = requires(T& spec, NoVisitor& visit) {
  VisitOptions(spec, visit);
};

// An enum of named values: its ChoiceNames(E) gives the names in the order of the enumerators. On the wire a
// name is in upper case, and the value that the proto lacks is the unspecified one.
template <typename E>
concept NamedChoice = std::is_enum_v<E> && requires(E choice) {
  ChoiceNames(choice);
};

template <NamedChoice E>
constexpr absl::string_view ChoiceName(E choice) {
  return ChoiceNames(choice)[static_cast<size_t>(choice)];
}

// INVALID_ARGUMENT lists the names.
template <NamedChoice E>
absl::StatusOr<E> ParseChoice(absl::string_view name) {
  const auto names = ChoiceNames(E{});
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<E>(i);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name.substr(0, 80), "\" is unknown; known are ", absl::StrJoin(names, ", ")));
}

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

}  // namespace quantmoe
