// Any text through the tokenizers of the families: ids of the vocabulary, and their text again.
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_input.h"
#include "tests/support/temporary_directory.h"
#include "text/tokenizer.h"

namespace {

using quantmoe::Tokenizer;

std::vector<std::unique_ptr<Tokenizer>> Families() {
  std::vector<std::unique_ptr<Tokenizer>> families;
  for (const auto& entry : std::filesystem::directory_iterator(QUANTMOE_TOKENIZERS)) {
    if (auto tokenizer = Tokenizer::FromFiles(quantmoe::ReadTestFile(entry.path()), ""); tokenizer.ok())
      families.push_back(*std::move(tokenizer));
  }
  quantmoe::Require(!families.empty(), "there are tokenizers");
  return families;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  static const std::vector<std::unique_ptr<Tokenizer>> families = Families();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& tokenizer : families) {
    const auto ids = tokenizer->Encode(text, /*add_special_tokens=*/true);
    if (!ids.ok()) continue;
    for (const int32_t id : *ids)
      Require(id >= 0 && id < tokenizer->vocab_size(), "ids are of the vocabulary");
    Require(tokenizer->Decode(*ids, /*skip_special_tokens=*/false).ok(), "what was encoded is decoded");
  }
  return 0;
}
