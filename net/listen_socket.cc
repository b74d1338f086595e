#include "net/listen_socket.h"

#include <netdb.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/error_info.h"

namespace quantmoe {
namespace {

absl::Status CannotListen(const std::string& host, int port, absl::string_view why) {
  return MakeError(absl::StatusCode::kUnavailable, "ADDRESS_IN_USE",
                   absl::StrCat("cannot listen on ", host, ":", port, ": ", why));
}

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return address.ss_family == AF_INET6 ? ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port)
                                       : ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

void SetPort(sockaddr* address, int port) {
  const in_port_t wire = htons(static_cast<uint16_t>(port));
  if (address->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = wire;
  } else {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = wire;
  }
}

// -1 with errno set.
int ListenOn(const addrinfo& address) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int yes = 1, no = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (address.ai_family == AF_INET6) {
    // [::] alone takes IPv4 too; beside an IPv4 socket of the same name it must not.
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, address.ai_next == nullptr ? &no : &yes, sizeof yes);
  }
  if (bind(fd, address.ai_addr, address.ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

absl::StatusOr<std::vector<ListenSocket>> ListenSocket::Bind(const std::string& host, int port) {
  const bool brackets = absl::StartsWith(host, "[") && absl::EndsWith(host, "]");
  const std::string name = brackets ? host.substr(1, host.size() - 2) : host;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(name.empty() ? nullptr : name.c_str(), "0", &hints, &found);
  if (error != 0) return CannotListen(host, port, gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, &freeaddrinfo);
  std::vector<ListenSocket> sockets;
  std::string why = "no address";
  for (addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    SetPort(address->ai_addr, sockets.empty() ? port : sockets.front().port());
    const int fd = ListenOn(*address);
    if (fd >= 0) {
      sockets.push_back(ListenSocket(fd, PortOf(fd)));
    } else {
      why = std::strerror(errno);
    }
  }
  if (sockets.empty()) return CannotListen(host, port, why);
  return sockets;
}

ListenSocket::~ListenSocket() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace quantmoe
