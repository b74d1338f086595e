// tiktoken.model of a family that has no tokenizer.json: what is accepted encodes and decodes any text.
#include "tests/fuzz/fuzz_input.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const auto tokenizer = Tokenizer::FromTiktoken({reinterpret_cast<const char*>(data), size},
                                                 R"({"tokenizer_class": "TikTokenTokenizer"})");
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->Encode("Hello, world! 123\n caf\xc3\xa9 \xff", /*add_special_tokens=*/true);
  if (ids.ok()) (void)(*tokenizer)->Decode(*ids, /*skip_special_tokens=*/false);
  return 0;
}
