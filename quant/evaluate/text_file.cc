#include "quant/evaluate/text_file.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "quant/evaluate/data_rows.h"
#include "quant/evaluate/python_strings.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr int64_t kIllFormedIn =
    1000;  // at most one broken character in so many: a slip, not another encoding
constexpr size_t kProbedBytes = 4096;

struct Row {
  Json fields;
  const std::string& file;
  int64_t number;

  bool Has(const char* field) const { return fields.contains(field); }
  bool HasValue(const char* field) const { return Has(field) && !fields[field].is_null(); }
  absl::Status Bad(const std::string& field, const std::string& what) const {
    return DataRow({}, file, number).Bad(field, what);
  }
  absl::StatusOr<std::string> Text(const char* field) const {
    if (!Has(field)) return Bad(field, "is missing");
    if (!fields[field].is_string())
      return Bad(field, absl::StrCat("is not a string but ", fields[field].type_name()));
    return fields[field].get<std::string>();
  }
};

Json Message(const std::string& role, Json content) {
  return {{"role", role}, {"content", std::move(content)}};
}

// --- rows to conversations
// -------------------------------------------------------------------------------------------

std::optional<std::string> RoleOfSpeaker(const std::string& speaker) {
  static constexpr std::pair<const char*, const char*> kRoles[] = {
      {"human", "user"},          {"user", "user"},         {"gpt", "assistant"},
      {"assistant", "assistant"}, {"chatgpt", "assistant"}, {"model", "assistant"},
      {"system", "system"},       {"tool", "tool"},         {"observation", "tool"}};
  for (const auto& [from, role] : kRoles) {
    if (speaker == from) return role;
  }
  return std::nullopt;
}

absl::StatusOr<Json> ReadMessage(const Row& row, const std::string& field, const Json& entry) {
  if (!entry.is_object()) return row.Bad(field, absl::StrCat("is not an object but ", entry.type_name()));
  const bool shared = entry.contains("from") && !entry.contains("role");
  const char* role_key = shared ? "from" : "role";
  const char* content_key = shared ? "value" : "content";
  if (!entry.contains(role_key)) return row.Bad(absl::StrCat(field, ".", role_key), "is missing");
  if (!entry[role_key].is_string()) return row.Bad(absl::StrCat(field, ".", role_key), "is not a string");
  const bool calls = entry.contains("tool_calls") && !entry["tool_calls"].is_null();
  if (!entry.contains(content_key) && !calls)
    return row.Bad(absl::StrCat(field, ".", content_key), "is missing");
  if (!shared) return entry;
  if (!entry["value"].is_string()) return row.Bad(absl::StrCat(field, ".value"), "is not a string");
  const std::string speaker = entry["from"].get<std::string>();
  const auto role = RoleOfSpeaker(speaker);
  if (!role) return row.Bad(absl::StrCat(field, ".from"), "names no known speaker: '" + speaker + "'");
  return Message(*role, entry["value"]);
}

absl::Status AppendMessages(const Row& row, const char* field, Json& messages) {
  const Json& list = row.fields[field];
  if (!list.is_array() || list.empty())
    return row.Bad(field,
                   list.is_array() ? "is empty" : absl::StrCat("is not a list but ", list.type_name()));
  for (size_t i = 0; i < list.size(); ++i) {
    ASSIGN_OR_RETURN(Json message, ReadMessage(row, absl::StrCat(field, "[", i, "]"), list[i]));
    messages.push_back(std::move(message));
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> ReadConversation(const Row& row, const char* field) {
  Json messages = Json::array();
  RETURN_IF_ERROR(AppendMessages(row, field, messages));
  if (!row.HasValue("system") || messages[0]["role"] == "system") return messages;
  ASSIGN_OR_RETURN(const std::string system, row.Text("system"));
  if (!system.empty()) messages.insert(messages.begin(), Message("system", system));
  return messages;
}

absl::StatusOr<Json> ReadInstruction(const Row& row) {
  ASSIGN_OR_RETURN(std::string question, row.Text("instruction"));
  ASSIGN_OR_RETURN(const std::string answer, row.Text("output"));
  if (row.HasValue("input")) {
    ASSIGN_OR_RETURN(const std::string input, row.Text("input"));
    if (!input.empty()) absl::StrAppend(&question, "\n\n", input);
  }
  return Json::array({Message("user", question), Message("assistant", answer)});
}

// Both are texts, or both lists of messages.
absl::StatusOr<Json> ReadCompletion(const Row& row) {
  Json messages = Json::array();
  for (const auto& [field, role] : {std::pair("prompt", "user"), std::pair("completion", "assistant")}) {
    if (row.Has(field) && row.fields[field].is_array()) {
      RETURN_IF_ERROR(AppendMessages(row, field, messages));
    } else {
      ASSIGN_OR_RETURN(std::string text, row.Text(field));
      messages.push_back(Message(role, std::move(text)));
    }
  }
  return messages;
}

absl::StatusOr<Json> ReadMessages(const Row& row) {
  if (row.Has("messages")) return ReadConversation(row, "messages");
  if (row.Has("conversations")) return ReadConversation(row, "conversations");
  if (row.Has("instruction")) return ReadInstruction(row);
  if (row.Has("prompt") || row.Has("completion")) return ReadCompletion(row);
  std::vector<std::string> names;
  for (const auto& [name, value] : row.fields.items()) names.push_back(name.substr(0, 40));
  if (names.size() > 8) names.resize(8);
  return row.Bad(
      "text",
      absl::StrCat("is missing; the row has ", names.empty() ? "no fields" : absl::StrJoin(names, ", "),
                   ". Known are text, messages, conversations, instruction with output, and prompt "
                   "with completion"));
}

// Every field that a row can be made of, for files of columns.
const std::vector<std::string>& KnownFields() {
  static const auto* const kFields =
      new std::vector<std::string>{"text",        "messages", "conversations", "system", "tools",
                                   "instruction", "input",    "output",        "prompt", "completion"};
  return *kFields;
}

absl::StatusOr<std::string> JoinRows(const std::vector<Row>& rows, const ChatRenderer& render) {
  std::string all;
  bool after_text = false;
  for (const Row& row : rows) {
    const bool is_text = row.Has("text");
    std::string text;
    if (is_text) {
      ASSIGN_OR_RETURN(text, row.Text("text"));
    } else {
      ASSIGN_OR_RETURN(const Json messages, ReadMessages(row));
      absl::StatusOr<std::string> rendered =
          render(messages, row.HasValue("tools") ? row.fields["tools"] : Json(nullptr));
      if (!rendered.ok()) return Annotate(rendered.status(), absl::StrCat(row.file, ":", row.number));
      text = *std::move(rendered);
    }
    absl::StrAppend(&all, !all.empty() && (is_text || after_text) ? "\n\n" : "", text);
    after_text = is_text;
  }
  return all;
}

// --- bytes to rows
// ---------------------------------------------------------------------------------------------------

absl::StatusOr<std::vector<Row>> ReadParquet(std::string_view bytes, const std::string& file) {
  ASSIGN_OR_RETURN(std::vector<nlohmann::json> objects, ReadParquetObjects(bytes, KnownFields(), file));
  std::vector<Row> rows;
  for (nlohmann::json& object : objects)
    rows.push_back({Json(std::move(object)), file, static_cast<int64_t>(rows.size()) + 1});
  return rows;
}

// Null where it is no JSON, or more than may be.
Json Parsed(std::string_view text) { return ParseOrderedJson({text.data(), text.size()}).value_or(nullptr); }

absl::StatusOr<std::vector<Row>> ReadLines(std::string_view text, const std::string& file) {
  std::vector<Row> rows;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = PythonStrip(text.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (line.empty()) continue;
    Json fields = Parsed(line);
    if (!fields.is_object())
      return DataRow({}, file, number).Bad("the line is not a JSON object, as the lines before it are");
    rows.push_back({std::move(fields), file, number});
  }
  return rows;
}

// Objects, or texts as they are.
absl::StatusOr<std::vector<Row>> ReadArray(Json array, const std::string& file) {
  std::vector<Row> rows;
  for (Json& entry : array) {
    const int64_t number = static_cast<int64_t>(rows.size()) + 1;
    if (entry.is_string()) entry = Json{{"text", entry}};
    if (!entry.is_object())
      return DataRow({}, file, number).Bad("the entry of the JSON array is neither an object nor a string");
    rows.push_back({std::move(entry), file, number});
  }
  if (rows.empty()) return DataRow({}, file, 0).Bad("the file has no rows");
  return rows;
}

// What the first characters promise. Text may begin with braces or brackets, as `[[link]]` does; `{"`, `[{`
// and `["` are JSON, in however many lists.
bool LooksLikeJson(std::string_view text) {
  std::string_view inner = text;
  while (inner.starts_with('[')) inner = PythonStripLeft(inner.substr(1));
  const bool listed = inner.size() < text.size();
  if (listed) return inner.starts_with('{') || inner.starts_with('"');
  if (!inner.starts_with('{')) return false;
  inner = PythonStripLeft(inner.substr(1));
  return inner.starts_with('"') || inner.starts_with('}');
}

// A list of lists or of objects. One of bare numbers may be a mark of text, as `[1]` is.
bool IsNested(const Json& value) {
  return value.is_array() &&
         std::any_of(value.begin(), value.end(), [](const Json& entry) { return entry.is_structured(); });
}

// Whether the first two lines are lists, and the first one of lists.
bool IsLinesOfLists(std::string_view content) {
  const size_t end = content.find('\n');
  if (end == content.npos || !IsNested(Parsed(PythonStrip(content.substr(0, end))))) return false;
  const std::string_view rest = PythonStripLeft(content.substr(end));
  return Parsed(PythonStrip(rest.substr(0, rest.find('\n')))).is_array();
}

// Rows of JSON, or nothing when `text` is plain text.
absl::StatusOr<std::optional<std::vector<Row>>> ReadJson(std::string_view text, const std::string& file) {
  const std::string_view content = PythonStrip(text);
  if (content.empty() || (content[0] != '{' && content[0] != '[')) return std::nullopt;
  const std::string_view line = PythonStrip(content.substr(0, content.find('\n')));
  const bool lines = Parsed(line).is_object();
  if (lines) return ReadLines(text, file);
  Json whole = Parsed(content);
  if (whole.is_object()) return std::vector<Row>{Row{std::move(whole), file, 1}};
  const bool rows = whole.is_array() && (whole.empty() || whole[0].is_object() || whole[0].is_string());
  if (rows) return ReadArray(std::move(whole), file);
  const bool json = IsNested(whole) || LooksLikeJson(content) || IsLinesOfLists(content);
  if (!json) return std::nullopt;
  const int64_t number = 1 + std::count(text.begin(), text.begin() + (content.data() - text.data()), '\n');
  return DataRow({}, file, number)
      .Bad("it begins as JSON, but is neither lines of JSON objects nor one JSON array of them");
}

// --- encodings
// -------------------------------------------------------------------------------------------------------

absl::Status NotUtf8(const std::string& file, const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "TASK_DATA_INVALID",
                   absl::StrCat(file, ": the file is ", what, "; save it as UTF-8"),
                   {{"file", file}, {"line", ""}, {"field", ""}});
}

// Every second byte of mostly Latin text in UTF-16 is 0, which no text has.
bool LooksLikeUtf16(std::string_view bytes) {
  const std::string_view probe = bytes.substr(0, kProbedBytes);
  return std::count(probe.begin(), probe.end(), '\0') * 10 > static_cast<std::ptrdiff_t>(probe.size());
}

int64_t CountReplacements(std::string_view text) {
  static constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  int64_t count = 0;
  for (size_t at = text.find(kReplacement); at != text.npos; at = text.find(kReplacement, at + 3)) ++count;
  return count;
}

absl::Status CheckEncoding(std::string_view bytes, const std::string& file) {
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF"))
    return NotUtf8(file, "UTF-16 by its byte order mark");
  if (LooksLikeUtf16(bytes))
    return NotUtf8(file, "not UTF-8 text but UTF-16 or binary: it is full of zero bytes");
  if (IsAscii(bytes) || IsValidUtf8(bytes)) return absl::OkStatus();
  const std::string valid = ToValidUtf8(bytes);
  const int64_t broken = CountReplacements(valid) - CountReplacements(bytes);
  if (broken * kIllFormedIn <= CountCodePoints(valid)) return absl::OkStatus();
  return NotUtf8(file, absl::StrCat("not UTF-8 text: ", broken, " of its ", CountCodePoints(valid),
                                    " characters are ill-formed"));
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(std::string_view bytes, const std::string& file,
                                         const ChatRenderer& render) {
  if (IsParquet(bytes)) {
    ASSIGN_OR_RETURN(const std::vector<Row> rows, ReadParquet(bytes, file));
    return JoinRows(rows, render);
  }
  RETURN_IF_ERROR(CheckEncoding(bytes, file));
  if (bytes.starts_with(kByteOrderMark)) bytes.remove_prefix(kByteOrderMark.size());
  ASSIGN_OR_RETURN(const std::optional<std::vector<Row>> rows, ReadJson(bytes, file));
  if (!rows) return std::string(bytes);
  return JoinRows(*rows, render);
}

}  // namespace quantmoe
