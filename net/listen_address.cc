#include "net/listen_address.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/error_info.h"

namespace quantmoe {

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text) {
  const size_t colon = text.rfind(':');
  ListenAddress address;
  const bool has_port =
      colon != absl::string_view::npos && absl::SimpleAtoi(text.substr(colon + 1), &address.port);
  if (!has_port || colon == 0 || address.port < 0 || address.port > 65535) {
    return InvalidFields({{"listen_address", absl::StrCat("must be host:port: ", text)}});
  }
  absl::string_view host = text.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  address.host = std::string(host);
  return address;
}

std::string ListenAddressText(const ListenAddress& address) {
  const bool v6 = absl::StrContains(address.host, ':');
  return absl::StrCat(v6 ? "[" : "", address.host, v6 ? "]:" : ":", address.port);
}

bool IsLoopback(const ListenAddress& address) {
  return address.host == "localhost" || address.host == "::1" || absl::StartsWith(address.host, "127.");
}

}  // namespace quantmoe
