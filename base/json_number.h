// Whole numbers in JSON that somebody else wrote. The library's get<int>() wraps what does not fit, so that
// 4294967298 bits are 2, and converts 1e300 with undefined behaviour.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

namespace quantmoe {

// Nothing for what is no whole number, is written as 2.0, or does not fit. T is not bool.
template <std::integral T, typename Json>
std::optional<T> FindInteger(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.template get<uint64_t>();
    return std::in_range<T>(number) ? std::optional<T>(static_cast<T>(number)) : std::nullopt;
  }
  if (!value.is_number_integer()) return std::nullopt;
  const auto number = value.template get<int64_t>();
  return std::in_range<T>(number) ? std::optional<T>(static_cast<T>(number)) : std::nullopt;
}

// Throws std::invalid_argument, for those who make it an error of the document.
template <std::integral T, typename Json>
T IntegerOf(const Json& value) {
  if (const std::optional<T> number = FindInteger<T>(value)) return *number;
  const auto shown = value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40);
  throw std::invalid_argument(absl::StrCat(shown, " is not a whole number of ", 8 * sizeof(T), " bits"));
}

// The member of an object, which has to be there.
template <std::integral T, typename Json>
T IntegerAt(const Json& object, const char* key) {
  return IntegerOf<T>(object.at(key));
}

template <std::integral T, typename Json>
T IntegerOr(const Json& object, const char* key, T absent) {
  return object.contains(key) ? IntegerOf<T>(object[key]) : absent;
}

template <std::integral T, typename Json>
std::vector<T> IntegersOf(const Json& list) {
  if (!list.is_array()) throw std::invalid_argument("not a list of whole numbers");
  std::vector<T> numbers;
  numbers.reserve(list.size());
  for (const Json& value : list) numbers.push_back(IntegerOf<T>(value));
  return numbers;
}

}  // namespace quantmoe
