// tokenizer.json: what is accepted encodes and decodes any text without a crash.
#include "tests/fuzz/fuzz_input.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  (void)ReadTokenizerConfig({reinterpret_cast<const char*>(data), size});
  const auto tokenizer = Tokenizer::FromFiles({reinterpret_cast<const char*>(data), size}, "");
  if (!tokenizer.ok()) return 0;
  for (const char* text :
       {"", "Hello, world! 123\n  x", "caf\xc3\xa9 \xe2\x96\x81 \xff\xf0\x9f\x98\x80<s>"}) {
    const auto ids = (*tokenizer)->Encode(text, /*add_special_tokens=*/true);
    if (ids.ok()) (void)(*tokenizer)->Decode(*ids, /*skip_special_tokens=*/false);
  }
  return 0;
}
