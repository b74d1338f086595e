// host:port of a listener.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

struct ListenAddress {
  std::string host;  // without brackets
  int port = 0;
};

// INVALID_ARGUMENT INVALID_FIELD (listen_address) unless host:port.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);
// host:port, as ParseListenAddress reads it: an IPv6 host stands in brackets.
std::string ListenAddressText(const ListenAddress& address);
// True when only this machine can connect.
bool IsLoopback(const ListenAddress& address);

}  // namespace quantmoe
