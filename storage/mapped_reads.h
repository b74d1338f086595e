// A file that is cut while it is mapped, or whose disk fails, must not end the process with SIGBUS. Reads of
// what is gone give zeros instead, and whoever uses what was read asks here whether it is true. A process
// that reads what other processes may write, on disks that it does not own, cannot do without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// Guards the whole pages [start, start + bytes) that are mapped for reading from the file at `path`, until
// the caller gives the guard back, which it does before it unmaps them. Thread-safe. The first call installs
// a handler for SIGBUS; a fault anywhere else goes to the handler that was there.
struct MappingGuard;
MappingGuard* GuardMapping(const void* start, size_t bytes, const std::string& path);
void ForgetMapping(MappingGuard* guard);

// Whether all that was read so far from the guarded mapping in which `bytes` begin is what the file holds.
// DATA_LOSS DIGEST_MISMATCH with the metadata `sha256` for a file that is named by its digest; DATA_LOSS
// FILE_CUT, which names the file, for any other. OK for memory that is not guarded.
absl::Status CheckMappedRead(absl::string_view bytes);

// The same for every mapping of the process: those that exist when it is asked, and those that were forgotten
// since the object was made. For computations that read many files.
class MappedReads {
 public:
  MappedReads();
  absl::Status Check() const;

 private:
  const int64_t failures_before_;
};

}  // namespace quantmoe
