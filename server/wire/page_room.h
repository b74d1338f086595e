// How much one page of a list holds: so many entries, and so many bytes, but one entry whatever its size.
// Thread-compatible.
#pragma once

#include <cstddef>

#include <google/protobuf/message.h>

namespace quantmoe {

// Entries of a page when a request asks for none, and the most that it may ask for.
inline constexpr int kPageSize = 50;
inline constexpr int kMaxPageSize = 1000;

class PageRoom {
 public:
  explicit PageRoom(int entries) : entries_(entries) {}

  bool full() const { return taken_ == entries_; }
  // False when `entry` begins the next page.
  bool Take(const google::protobuf::Message& entry) {
    bytes_ += entry.ByteSizeLong();
    if (full() || (taken_ > 0 && bytes_ > kMaxBytes)) return false;
    ++taken_;
    return true;
  }

 private:
  // A client takes messages of 4 MiB.
  static constexpr size_t kMaxBytes = size_t{3} << 20;

  const int entries_;
  int taken_ = 0;
  size_t bytes_ = 0;
};

}  // namespace quantmoe
