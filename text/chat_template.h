// A chat template: writes a conversation as the model was trained to read it. The language is the part of
// Jinja that published templates use, by the engine of llama.cpp, checked against transformers
// (testdata/chat_templates); what cannot be rendered as transformers does is refused with its line. Bounded
// in steps, depth and size (jinja_hooks.h). `strftime_now` gives 26 July 2024, always.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include <nlohmann/json.hpp>

namespace quantmoe {

// Thread-compatible.
class ChatTemplate {
 public:
  // `file` is the name to show in errors. INVALID_ARGUMENT CHAT_TEMPLATE_INVALID {file}.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view text, const std::string& file);

  // `variables`: messages, tools, bos_token, ... by name. INVALID_ARGUMENT CHAT_TEMPLATE_FAILED {file}, with
  // the line: what is not supported, an exception that the template raises, a limit.
  absl::StatusOr<std::string> Render(const nlohmann::ordered_json& variables);

 private:
  struct Program;
  ChatTemplate(std::shared_ptr<Program> program, std::string file)
      : program_(std::move(program)), file_(std::move(file)) {}

  std::shared_ptr<Program> program_;
  std::string file_;
  // Grow with what is rendered, so that all rows of a file together are bounded too.
  int64_t steps_left_ = 2'000'000;
  int64_t bytes_left_ = int64_t{64} << 20;
};

}  // namespace quantmoe
