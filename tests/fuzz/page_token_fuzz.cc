// Page tokens: a token of a stranger is refused; one of ours leads back to its cursor, and a changed one
// nowhere else.
#include "server/wire/page_token.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::string_view input = TextOf(data, size);
  (void)DecodePageToken("request", input);
  (void)DecodeTextPageToken(input, input);
  std::string token = EncodeTextPageToken("request", input);
  const auto cursor = DecodeTextPageToken("request", token);
  Require(cursor.ok() && *cursor == input, "a token leads back to its cursor");
  Require(!DecodeTextPageToken("another", token).ok(), "a token belongs to one request");
  const size_t at = size % token.size();
  token[at] = token[at] == 'A' ? 'B' : 'A';
  const auto changed = DecodeTextPageToken("request", token);
  Require(!changed.ok() || *changed == input, "a changed token leads nowhere else");
  return 0;
}
