// RETURN_IF_ERROR and ASSIGN_OR_RETURN with the names and meaning of upstream Abseil, which this release
// lacks.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define QUANTMOE_CONCAT_INNER_(a, b) a##b
#define QUANTMOE_CONCAT_(a, b) QUANTMOE_CONCAT_INNER_(a, b)

#define RETURN_IF_ERROR(expr)                                         \
  do {                                                                \
    if (absl::Status status_ = (expr); !status_.ok()) return status_; \
  } while (false)

#define ASSIGN_OR_RETURN(lhs, expr) \
  QUANTMOE_ASSIGN_OR_RETURN_(QUANTMOE_CONCAT_(statusor_, __LINE__), lhs, expr)

#define QUANTMOE_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                               \
  if (!tmp.ok()) return std::move(tmp).status();   \
  lhs = *std::move(tmp)
