// Values of options as they are typed, in a flag or a job file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

#include "plan/options/option.h"

namespace quantmoe::cli {

// What is wrong with the text; empty when it was taken.
std::string TakeText(const OptionInfo& option, const std::string& text, int& value);
std::string TakeText(const OptionInfo& option, const std::string& text, int64_t& value);
std::string TakeText(const OptionInfo& option, const std::string& text, double& value);
std::string TakeText(const OptionInfo& option, const std::string& text, bool& value);
std::string TakeText(const OptionInfo& option, const std::string& text, std::string& value);

// In any case, so that what the API prints is taken too.
template <NamedChoice E>
std::string TakeText(const OptionInfo&, const std::string& text, E& value) {
  const absl::StatusOr<E> choice = ParseChoice<E>(absl::AsciiStrToLower(text));
  if (choice.ok()) value = *choice;
  return std::string(choice.status().message());
}

template <typename T>
std::string TakeText(const OptionInfo& option, const std::string& text, std::optional<T>& value) {
  return TakeText(option, text, value.emplace());
}

// The two sides of "NAME=VALUE"; nothing when it is none.
std::optional<std::pair<std::string, std::string>> SplitPair(const std::string& text);
std::string NoPair(const std::string& text);  // says so

// "--damp" of "--damp", "--add-bos" of "--add-bos,!--no-add-bos".
std::string FlagName(const OptionInfo& option);

// What a default means, for help and documents: the entry's words, or the value; empty where none is worth
// saying.
template <typename T>
std::string DefaultText(const OptionInfo& option, const T& value) {
  if (option.unset[0] != '\0') return option.unset;
  if constexpr (NamedChoice<T>) {
    return std::string(ChoiceName(value));
  } else if constexpr (std::is_arithmetic_v<T> && !std::same_as<T, bool>) {
    return value == T{} ? "" : absl::StrCat(value);
  } else if constexpr (std::same_as<T, std::string>) {
    return value;
  } else {
    return "";
  }
}

// How help calls a value: the entry's word, the names of a choice, or its type.
template <typename T>
std::string ValueName(const OptionInfo& option) {
  if (option.value[0] != '\0') return option.value;
  if constexpr (kIsOptional<T>) {
    return ValueName<typename T::value_type>(option);
  } else if constexpr (NamedChoice<T>) {
    return absl::StrCat("{", absl::StrJoin(ChoiceNames(T{}), ","), "}");
  } else if constexpr (std::same_as<T, bool>) {
    return "BOOL";
  } else if constexpr (std::integral<T>) {
    return "INT";
  } else if constexpr (std::floating_point<T>) {
    return "FLOAT";
  } else if constexpr (std::same_as<T, std::vector<int>>) {
    return "INT,...";
  } else {
    return "TEXT";
  }
}

}  // namespace quantmoe::cli
