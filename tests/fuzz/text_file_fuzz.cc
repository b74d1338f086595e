// A calibration or perplexity text of a user: its text, or an error; rows never become text as they are.
#include "quant/evaluate/text_file.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto render = [](const nlohmann::ordered_json& messages, const nlohmann::ordered_json&) {
    return absl::StatusOr<std::string>(messages.dump());
  };
  const auto text = ReadTextFile(bytes, "fuzz", render);
  const bool rows = bytes.starts_with("{\"text\"") || bytes.starts_with("[{\"");
  if (text.ok() && rows) Require(*text != bytes, "rows are not the text");
  return 0;
}
