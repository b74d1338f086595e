// A chat template of a model directory: what it renders, or an error, in bounded work.
#include "tests/fuzz/fuzz_input.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto parsed = ChatTemplate::Parse(text, "fuzz");
  if (!parsed.ok()) return 0;
  const nlohmann::ordered_json variables = {
      {"messages", {{{"role", "user"}, {"content", " a b "}}, {{"role", "assistant"}, {"content", nullptr}}}},
      {"tools", nullptr},
      {"bos_token", "<s>"}};
  (void)parsed->Render(variables);
  return 0;
}
