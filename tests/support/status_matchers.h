// Matchers for absl::Status and absl::StatusOr with the names of upstream Abseil, which this release lacks,
// and HasReason for the stable reasons of base/error_info.h.
#pragma once

#include <ostream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/error_info.h"

namespace quantmoe {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// True for an OK absl::Status or absl::StatusOr.
MATCHER(IsOk, "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

// True for an absl::StatusOr that holds a value which matches.
MATCHER_P(IsOkAndHolds, value_matcher, "is OK and holds a value that matches") {
  *result_listener << StatusOf(arg).ToString();
  return arg.ok() && testing::ExplainMatchResult(value_matcher, *arg, result_listener);
}

// True for this code, whatever the message.
MATCHER_P(StatusIs, code, absl::StrCat("has code ", absl::StatusCodeToString(code))) {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code;
}

// True for this code and a message (std::string) that matches.
MATCHER_P2(StatusIs, code, message_matcher, absl::StrCat("has code ", absl::StatusCodeToString(code))) {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code &&
         testing::ExplainMatchResult(message_matcher, std::string(StatusOf(arg).message()), result_listener);
}

// True for an error whose ErrorInfo has this reason.
MATCHER_P(HasReason, reason, absl::StrCat("has reason ", reason)) {
  const std::string actual = GetErrorInfo(StatusOf(arg)).reason;
  *result_listener << StatusOf(arg).ToString() << ", reason " << actual;
  return !StatusOf(arg).ok() && actual == reason;
}

}  // namespace quantmoe

#define EXPECT_OK(expr) EXPECT_THAT((expr), ::quantmoe::IsOk())
#define ASSERT_OK(expr) ASSERT_THAT((expr), ::quantmoe::IsOk())

#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  QUANTMOE_ASSERT_OK_AND_ASSIGN_(QUANTMOE_TEST_CONCAT_(tested_, __LINE__), lhs, expr)
#define QUANTMOE_TEST_CONCAT_INNER_(a, b) a##b
#define QUANTMOE_TEST_CONCAT_(a, b) QUANTMOE_TEST_CONCAT_INNER_(a, b)
#define QUANTMOE_ASSERT_OK_AND_ASSIGN_(tmp, lhs, expr)    \
  auto tmp = (expr);                                      \
  ASSERT_TRUE(tmp.ok()) << #expr << ": " << tmp.status(); \
  lhs = *std::move(tmp)
