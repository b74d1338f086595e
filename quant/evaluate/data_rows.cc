#include "quant/evaluate/data_rows.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "quant/evaluate/python_strings.h"

namespace quantmoe {

using nlohmann::json;

absl::Status DataRow::Bad(const std::string& what) const {
  return MakeError(absl::StatusCode::kInvalidArgument, "TASK_DATA_INVALID",
                   absl::StrCat(file_, ":", number_, ": ", what),
                   {{"file", file_}, {"line", absl::StrCat(number_)}, {"field", ""}});
}

absl::Status DataRow::Bad(const std::string& field, const std::string& what) const {
  return MakeError(absl::StatusCode::kInvalidArgument, "TASK_DATA_INVALID",
                   absl::StrCat(file_, ":", number_, ": field '", field, "' ", what),
                   {{"file", file_}, {"line", absl::StrCat(number_)}, {"field", field}});
}

absl::StatusOr<const json*> DataRow::Find(const std::string& field) const {
  const json* node = &object_;
  for (size_t begin = 0; begin <= field.size();) {
    const size_t end = std::min(field.find('.', begin), field.size());
    const auto found = node->is_object() ? node->find(field.substr(begin, end - begin)) : node->end();
    if (found == node->end()) return Bad(field, "is missing");
    node = &*found;
    begin = end + 1;
  }
  return node;
}

absl::StatusOr<std::string> DataRow::Text(const std::string& field) const {
  ASSIGN_OR_RETURN(const json* node, Find(field));
  if (!node->is_string()) return Bad(field, absl::StrCat("is not a string but ", node->type_name()));
  return node->get<std::string>();
}

absl::StatusOr<std::string> DataRow::NonEmptyText(const std::string& field) const {
  ASSIGN_OR_RETURN(std::string text, Text(field));
  if (text.empty()) return Bad(field, "is empty");
  return text;
}

absl::StatusOr<std::vector<std::string>> DataRow::Texts(const std::string& field, size_t count) const {
  ASSIGN_OR_RETURN(const json* node, Find(field));
  const bool strings = node->is_array() && std::all_of(node->begin(), node->end(),
                                                       [](const json& text) { return text.is_string(); });
  if (!strings) return Bad(field, "is not a list of strings");
  if (count == 0 ? node->size() < 2 : node->size() != count) {
    return Bad(field, absl::StrCat("has ", node->size(), " entries, not ",
                                   count == 0 ? "two or more" : absl::StrCat(count)));
  }
  auto texts = node->get<std::vector<std::string>>();
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) return Bad(field, absl::StrCat("has an empty entry, number ", i));
  }
  return texts;
}

absl::StatusOr<int> DataRow::Label(const std::string& field, int first, int count) const {
  ASSIGN_OR_RETURN(const json* node, Find(field));
  int64_t value = 0;
  const bool number = node->is_number_integer() || node->is_boolean();
  if (number) value = node->is_boolean() ? int64_t{node->get<bool>()} : node->get<int64_t>();
  if (!number && !(node->is_string() && absl::SimpleAtoi(node->get<std::string>(), &value))) {
    return Bad(field, absl::StrCat("is not a whole number: ", node->dump()));
  }
  if (value < first || value >= first + count) {
    return Bad(field, absl::StrCat("is ", value, ", not in ", first, "..", first + count - 1));
  }
  return static_cast<int>(value - first);
}

bool IsParquet(std::string_view bytes) { return bytes.starts_with("PAR1"); }

absl::StatusOr<std::vector<DataRow>> ReadJsonRows(std::string_view jsonl, const std::string& file) {
  std::vector<DataRow> rows;
  int64_t number = 0;
  for (size_t begin = 0; begin < jsonl.size();) {
    const size_t end = std::min(jsonl.find('\n', begin), jsonl.size());
    const std::string_view text = PythonStrip(jsonl.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (text.empty()) continue;
    absl::StatusOr<json> object = ParseJson({text.data(), text.size()});
    const bool valid = object.ok() && object->is_object();
    rows.emplace_back(std::move(object).value_or(nullptr), file, number);
    if (!valid) return rows.back().Bad("the line is not a JSON object");
  }
  if (rows.empty()) return DataRow(json(), file, number).Bad("the file has no items");
  return rows;
}

}  // namespace quantmoe
