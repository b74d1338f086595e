// The address of a hub and where its redirects lead: no accepted address can end a line of a request, and its
// text is accepted as it is.
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "sources/http_client.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::string_view text = TextOf(data, size);
  const HttpUrl base{"https", "hub.example", 443, "/api/models/a/b?x=1"};
  for (const absl::StatusOr<HttpUrl>& url : {ParseHttpUrl(text), ResolveLocation(base, text)}) {
    if (!url.ok()) continue;
    const std::string whole = absl::StrCat(url->Origin(), url->target);
    for (const char c : whole)
      Require(!absl::ascii_iscntrl(static_cast<unsigned char>(c)) && c != ' ', "an address is one word");
    const absl::StatusOr<HttpUrl> again = ParseHttpUrl(whole);
    Require(again.ok() && again->host == url->host && again->port == url->port &&
                again->scheme == url->scheme && again->target == url->target,
            "the text of an address means the same");
  }
  return 0;
}
