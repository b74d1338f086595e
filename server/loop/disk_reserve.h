// Room on the disk of the data directory. A file of fixed size stands for room that only the state store may
// use: when a commit finds the disk full, a part of the file is given up and the commit tried again, so that
// jobs can still be cancelled and deleted and the coordinator still starts. Until the file is whole again and
// as much room is free beside it, the disk counts as full: nothing that grows it is begun.
//
// Parts instead of the whole at once: whoever else fills the disk takes what is free the moment it is.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace quantmoe {

// Thread-safe.
class DiskReserve {
 public:
  struct Options {
    std::string dir;
    // Size of the file; on a small file system at most a sixteenth of it. 0: no file.
    int64_t bytes = int64_t{64} << 20;
    // Bytes that may still be written below a directory; empty: asks the file system.
    std::function<int64_t(const std::string& dir)> free_bytes = {};
  };
  // Touches nothing yet: the directory may be another coordinator's.
  explicit DiskReserve(Options options);

  // Frees a part of the file; false when nothing is left of it. The disk counts as full from now on.
  bool GiveUp();
  // Something could not be written for lack of room.
  void NoteFull();
  // Looks at the disk, and rebuilds the file when there is room.
  void Refresh();

  bool full() const { return full_; }
  // One sentence for people while the disk is full, else empty.
  std::string Explain() const;
  // RESOURCE_EXHAUSTED DISK_FULL while the disk is full. Looks at the disk again before it refuses.
  absl::Status CheckRoom();

 private:
  int64_t FreeBytes() const;
  int64_t FileBytes() const;
  // What must be free beside the whole file.
  int64_t NeededBytes() const;

  const Options options_;
  const std::string path_;
  int64_t bytes_ = 0;
  absl::Mutex mutex_;  // one change of the file at a time
  std::atomic<bool> full_{false};
};

// Whether an error means that a disk is full.
bool IsDiskFull(const absl::Status& status);

}  // namespace quantmoe
