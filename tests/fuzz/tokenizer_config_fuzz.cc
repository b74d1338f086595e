// tokenizer_config.json beside a sound tokenizer.json and a sound tiktoken.model: what is accepted encodes.
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "tests/fuzz/fuzz_input.h"
#include "text/tokenizer.h"

namespace {

std::string AllBytes() {
  std::string ranks;
  for (int byte = 0; byte < 256; ++byte)
    absl::StrAppend(&ranks, absl::Base64Escape(std::string(1, static_cast<char>(byte))), " ", byte, "\n");
  return ranks;
}

constexpr char kWords[] =
    R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3}, "merges": ["a b"]},
  "added_tokens": [{"id": 3, "content": "<s>", "special": true}]})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  static const std::string ranks = AllBytes();
  const std::string_view config(reinterpret_cast<const char*>(data), size);
  for (const auto& tokenizer :
       {Tokenizer::FromFiles(kWords, config), Tokenizer::FromTiktoken(ranks, config)}) {
    if (!tokenizer.ok()) continue;
    const auto ids = (*tokenizer)->EncodeText("ab <s> a[BOS]\xff", std::nullopt);
    if (ids.ok()) (void)(*tokenizer)->Decode(*ids, /*skip_special_tokens=*/true);
  }
  return 0;
}
