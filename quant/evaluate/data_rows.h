// Rows of a benchmark file, JSON lines or Parquet, and typed access to their fields that says exactly what is
// wrong and where. Knows no benchmark.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <nlohmann/json.hpp>

namespace quantmoe {

// One row; knows where it is, to say so. Fields are top-level names or paths, "choices.text". All errors are
// INVALID_ARGUMENT TASK_DATA_INVALID {file, line, field}; the line of a Parquet file is its row, from 1.
class DataRow {
 public:
  DataRow(nlohmann::json object, std::string file, int64_t number)
      : object_(std::move(object)), file_(std::move(file)), number_(number) {}

  absl::Status Bad(const std::string& what) const;
  absl::Status Bad(const std::string& field, const std::string& what) const;

  absl::StatusOr<std::string> Text(const std::string& field) const;
  absl::StatusOr<std::string> NonEmptyText(const std::string& field) const;
  // Not empty strings; `count` 0: two or more of them.
  absl::StatusOr<std::vector<std::string>> Texts(const std::string& field, size_t count) const;
  // A number, a boolean or a string of digits in [first, first + count), less `first`.
  absl::StatusOr<int> Label(const std::string& field, int first, int count) const;

 private:
  absl::StatusOr<const nlohmann::json*> Find(const std::string& field) const;

  nlohmann::json object_;
  std::string file_;
  int64_t number_;
};

bool IsParquet(std::string_view bytes);

// JSON lines, one object each; empty lines are skipped. INVALID_ARGUMENT TASK_DATA_INVALID {file, line} for
// another line, and for a file without items.
absl::StatusOr<std::vector<DataRow>> ReadJsonRows(std::string_view jsonl, const std::string& file);

// A whole Parquet file; of its columns only `columns`, all of which must be there. INVALID_ARGUMENT
// TASK_DATA_INVALID {file} for another file, and for one without items.
absl::StatusOr<std::vector<DataRow>> ReadParquetRows(std::string_view bytes,
                                                     const std::vector<std::string>& columns,
                                                     const std::string& file);

// The same as objects, of those `columns` that the file has; one at least must be there.
absl::StatusOr<std::vector<nlohmann::json>> ReadParquetObjects(std::string_view bytes,
                                                               const std::vector<std::string>& columns,
                                                               const std::string& file);

}  // namespace quantmoe
