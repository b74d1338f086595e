// A TCP connection without a protocol: what clients do wrong is the point of its tests.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <string>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace quantmoe {

class RawConnection {
 public:
  // To a port of this machine; fails the test when nobody listens there.
  explicit RawConnection(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{20, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;
  ~RawConnection() { close(fd_); }

  RawConnection& Say(const std::string& text) {
    send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    return *this;
  }
  // Until the other side closes.
  std::string Hear() {
    std::string heard;
    char buffer[4096];
    for (ssize_t n; (n = recv(fd_, buffer, sizeof buffer, 0)) > 0;)
      heard.append(buffer, static_cast<size_t>(n));
    return heard;
  }
  // Whether the other side ends it before it says anything.
  bool IsClosed() {
    char byte = 0;
    const ssize_t heard = recv(fd_, &byte, 1, 0);  // an orderly end is 0, and leaves errno as it was
    return heard == 0 || (heard < 0 && errno != EAGAIN);
  }

 private:
  const int fd_;
};

}  // namespace quantmoe
