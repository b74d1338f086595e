#include "client/text/json_text.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "client/text/format.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

std::string ScalarText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return FormatNumber(value.get<double>(), 6);
  return value.dump();
}

bool IsFlat(const Json& value) { return !value.is_structured(); }

bool IsTable(const Json& list) {
  if (!list.is_array() || list.empty()) return false;
  for (const Json& row : list) {
    if (!row.is_object()) return false;
    for (const Json& cell : row) {
      if (!IsFlat(cell)) return false;
    }
  }
  return true;
}

std::string TableText(const Json& list, int indent) {
  std::vector<Column> columns;
  for (const auto& [key, cell] : list.front().items()) {
    columns.push_back({key, cell.is_number() ? Align::kRight : Align::kLeft});
  }
  TextTable table(columns);
  for (const Json& row : list) {
    std::vector<Cell> cells;
    for (const Column& column : columns) {
      cells.push_back(row.contains(column.title) ? ScalarText(row[column.title]) : "");
    }
    table.AddRow(std::move(cells));
  }
  return table.Render(indent);
}

bool IsFlatList(const Json& value) {
  if (!value.is_array()) return false;
  for (const Json& item : value) {
    if (!IsFlat(item)) return false;
  }
  return true;
}

// How deep it goes is bounded by the reader of JSON (base/json.h).
std::string JsonText(const Json& value, int indent) {
  const std::string blanks(static_cast<size_t>(indent), ' ');
  if (IsFlat(value)) return absl::StrCat(blanks, Printable(ScalarText(value)), "\n");
  if (IsTable(value)) return TableText(value, indent);
  std::string text;
  for (const auto& [key, item] : value.items()) {
    const std::string name = value.is_array() ? "-" : absl::StrCat(Printable(key), ":");
    if (item.is_structured() && item.empty()) {
      absl::StrAppend(&text, blanks, name, " none\n");
    } else if (IsFlat(item)) {
      absl::StrAppend(&text, blanks, name, " ", Printable(ScalarText(item)), "\n");
    } else if (IsFlatList(item)) {
      const std::string joined = absl::StrJoin(
          item, ", ", [](std::string* out, const Json& element) { out->append(ScalarText(element)); });
      absl::StrAppend(&text, blanks, name, " ", Printable(joined), "\n");
    } else {
      absl::StrAppend(&text, blanks, name, "\n", JsonText(item, indent + 2));
    }
  }
  return text;
}

}  // namespace

std::string RenderJson(absl::string_view json) {
  const absl::StatusOr<Json> value = ParseOrderedJson(json);
  return value.ok() ? JsonText(*value, 0) : absl::StrCat(Printable(json), "\n");
}

}  // namespace quantmoe
