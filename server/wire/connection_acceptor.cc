#include "server/wire/connection_acceptor.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"

namespace quantmoe {
namespace {

ino_t InodeOf(int fd) {
  struct stat about {};
  return fstat(fd, &about) == 0 ? about.st_ino : 0;
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

ConnectionAcceptor::ConnectionAcceptor(const char* name, std::vector<ListenSocket> sockets,
                                       size_t max_connections, HandOver hand_over)
    : name_(name),
      sockets_(std::move(sockets)),
      max_connections_(max_connections),
      hand_over_(std::move(hand_over)),
      stop_event_(eventfd(0, EFD_CLOEXEC)),
      spare_(OpenSpare()),
      thread_([this] { Run(); }) {}

ConnectionAcceptor::~ConnectionAcceptor() {
  const uint64_t one = 1;
  (void)!write(stop_event_, &one, sizeof one);
  thread_.join();
  close(stop_event_);
  if (spare_ >= 0) close(spare_);
}

void ConnectionAcceptor::Run() {
  pthread_setname_np(pthread_self(), "accept");
  std::vector<pollfd> polled = {{stop_event_, POLLIN, 0}};
  for (const ListenSocket& socket : sockets_) polled.push_back({socket.fd(), POLLIN, 0});
  while (true) {
    if (poll(polled.data(), polled.size(), /*timeout=*/-1) < 0 && errno != EINTR) return;
    if (polled[0].revents != 0) return;
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) AcceptAll(polled[i].fd);
    }
  }
}

void ConnectionAcceptor::AcceptAll(int listener) {
  while (true) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (!HasRoom()) {
        Refuse(fd);
        continue;
      }
      const int yes = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      open_.push_back({fd, InodeOf(fd)});
      hand_over_(listener, fd);
    } else if ((errno == EMFILE || errno == ENFILE) && spare_ >= 0) {
      close(spare_);
      const int unwanted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (unwanted >= 0) Refuse(unwanted);
      spare_ = OpenSpare();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      if (spare_ < 0) spare_ = OpenSpare();
      return;
    }
  }
}

bool ConnectionAcceptor::HasRoom() {
  if (open_.size() < max_connections_) return true;
  std::erase_if(open_, [](const HandedOver& one) { return InodeOf(one.fd) != one.inode; });
  return open_.size() < max_connections_;
}

void ConnectionAcceptor::Refuse(int connection) {
  close(connection);
  // A flood of them must not become a flood of lines.
  ++refused_;
  if ((refused_ & (refused_ - 1)) != 0) return;
  Log(LogLevel::kWarning, "connections are refused: too many are open",
      {{"listener", name_}, {"limit", max_connections_}, {"refused", refused_}});
}

}  // namespace quantmoe
