// Room on the disk of the data directory. A file of fixed size stands for room that only the state store may
// use: when a commit finds the disk full, a part of the file is given up and the commit tried again, so that
// jobs can still be cancelled and deleted and the coordinator still starts. Until the file is whole again and
// as much room is free beside it, the disk counts as full: nothing that grows it is begun. A disk that
// nothing can be written to, as the kernel makes one that fails, counts as unusable too, until it can.
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

#include "server/facts/loop_thread.h"

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
    // Why nothing can be written to a directory that exists, as an errno, or 0; empty: asks the file system.
    std::function<int(const std::string& dir)> write_error = {};
  };
  // Touches nothing yet: the directory may be another coordinator's.
  explicit DiskReserve(Options options);

  // Frees a part of the file; false when nothing is left of it. The disk counts as full from now on. Part of
  // a commit, which cannot do without the room.
  bool GiveUp();
  // Something could not be written: the error is IsDiskUnusable. The disk counts as unusable until the next
  // look says otherwise.
  void NoteFailure(const absl::Status& error);
  // Looks at the disk, and rebuilds the file when there is room.
  void Refresh() NEVER_ON_LOOP;

  // Full, or nothing can be written to it at all.
  bool unusable() const { return full_ || read_only_; }
  // One sentence for people while the disk is unusable, else empty.
  std::string Explain() const;
  // While the disk is unusable: RESOURCE_EXHAUSTED DISK_FULL or UNAVAILABLE DISK_READ_ONLY, as of the last
  // look.
  absl::Status status() const;
  // Looks at an unusable disk again before it refuses: whoever has just made room need not wait.
  absl::Status CheckRoom() NEVER_ON_LOOP;

 private:
  void NoteFull();
  void NoteReadOnly(const std::string& reason);
  // Why a folder of the data directory cannot be written to; empty: all can.
  std::string FindReadOnly() const;
  int WriteError(const std::string& dir) const;
  int64_t FreeBytes() const;
  int64_t FileBytes() const;
  // What must be free beside the whole file.
  int64_t NeededBytes() const;

  const Options options_;
  const std::string path_;
  int64_t bytes_ = 0;
  absl::Mutex file_mutex_;  // one change of the file at a time
  std::atomic<bool> full_{false};
  std::atomic<bool> read_only_{false};
  mutable absl::Mutex mutex_;  // never held while a file is looked at
  // Why it is read_only_, such as "DIR (Read-only file system)".
  std::string read_only_reason_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantmoe
