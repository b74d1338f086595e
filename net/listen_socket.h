// TCP sockets that listen, for those listeners whose library cannot bound connections while it binds for
// itself.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace quantmoe {

// Owns a listening descriptor, non-blocking and closed on exec.
class ListenSocket {
 public:
  // One socket for every address of `host`, all at one port; port 0 chooses it. UNAVAILABLE ADDRESS_IN_USE
  // when none can be bound.
  static absl::StatusOr<std::vector<ListenSocket>> Bind(const std::string& host, int port);

  ListenSocket(ListenSocket&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), port_(std::exchange(other.port_, 0)) {}
  ListenSocket& operator=(ListenSocket&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(port_, other.port_);
    return *this;
  }
  ~ListenSocket();

  int fd() const { return fd_; }
  int port() const { return port_; }
  // Gives the descriptor away.
  int Release() { return std::exchange(fd_, -1); }

 private:
  ListenSocket(int fd, int port) : fd_(fd), port_(port) {}

  int fd_ = -1;
  int port_ = 0;
};

}  // namespace quantmoe
