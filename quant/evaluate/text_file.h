// The text of a calibration or perplexity file, whatever form it has: plain UTF-8, or rows (JSON lines, a
// JSON array, Parquet) of text or of conversations. What is rows is never taken as plain text.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include <nlohmann/json.hpp>

namespace quantmoe {

// Writes a conversation as the model was trained to read it. `messages` is a list of objects with a `role`;
// `tools` is a list, or null. Errors say what is wrong, not in which row.
using ChatRenderer = std::function<absl::StatusOr<std::string>(const nlohmann::ordered_json& messages,
                                                               const nlohmann::ordered_json& tools)>;

// A row is its field `text`; or a conversation, which is rendered: `messages` ({role, content}),
// `conversations`
// ({from, value}), `instruction` and `output` with or without `input`, or `prompt` and `completion`. Rows of
// text are joined by an empty line, conversations by nothing. A byte order mark of UTF-8 is dropped.
// INVALID_ARGUMENT TASK_DATA_INVALID {file, line, field}: a row of another form, which names the field;
// broken JSON; UTF-16; bytes that are no text. Errors of `render`, with the row.
absl::StatusOr<std::string> ReadTextFile(std::string_view bytes, const std::string& file,
                                         const ChatRenderer& render);

}  // namespace quantmoe
