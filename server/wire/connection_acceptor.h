// Accepts TCP connections on behalf of a server that cannot bound their number, as gRPC 1.51 cannot, and
// hands them over. A connection beyond the limit, or for which no descriptor is left, is closed at once, so
// that its client sees the end instead of waiting.
#pragma once

#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include <sys/types.h>

#include "net/listen_socket.h"

namespace quantmoe {

class ConnectionAcceptor {
 public:
  // Takes over `connection`, which is non-blocking.
  using HandOver = std::function<void(int listener, int connection)>;

  // `name` is for the log.
  ConnectionAcceptor(const char* name, std::vector<ListenSocket> sockets, size_t max_connections,
                     HandOver hand_over);
  // Accepts no more; what was handed over stays.
  ~ConnectionAcceptor();

  int port() const { return sockets_.front().port(); }

 private:
  // A connection that was handed over: whoever has it closes it, and then the descriptor is another file or
  // none.
  struct HandedOver {
    int fd;
    ino_t inode;
  };
  void Run();
  void AcceptAll(int listener);
  bool HasRoom();
  void Refuse(int connection);

  const char* const name_;
  const std::vector<ListenSocket> sockets_;
  const size_t max_connections_;
  const HandOver hand_over_;
  int stop_event_;
  int spare_;  // given up for a moment to close a connection for which no descriptor is left
  std::vector<HandedOver> open_;
  size_t refused_ = 0;
  std::thread thread_;
};

}  // namespace quantmoe
