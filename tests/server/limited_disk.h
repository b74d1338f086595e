// While it lives, every SQLite file that this process opens lies on a disk of its own whose room a test sets:
// what would make a file longer takes from it, and fails with SQLITE_FULL when it is used up. One at a time;
// files must be closed before it ends.
#pragma once

#include <atomic>
#include <cstdint>

namespace quantmoe {

class LimitedDisk {
 public:
  LimitedDisk();
  ~LimitedDisk();
  LimitedDisk(const LimitedDisk&) = delete;
  LimitedDisk& operator=(const LimitedDisk&) = delete;

  // Bytes by which files may still grow, all of them together. Without a call nothing limits them.
  void FreeBytes(int64_t bytes);
};

}  // namespace quantmoe
