// Folders of our own beside what is the user's: where a program keeps results until they are published. Each
// carries a marker file. Only what a marked folder holds under the names below is ever removed, and a folder
// that is not marked is never taken for one. Several processes may work in one; a lock on the marker tells.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/durable_file.h"

namespace quantmoe {

class WorkDirectory {
 public:
  static constexpr char kMarkerName[] = ".quantmoe-work";
  enum class Use { kShared, kAlone };

  // A link to a marked folder is not one: whoever made the link knows the folder by another name.
  static bool IsMarked(const std::string& path);
  // Whether Open would take `path`: a new name, an empty folder, or a marked one. FAILED_PRECONDITION says
  // why not. Nothing is changed.
  static absl::Status Check(const std::string& path);
  // Creates and marks the folder, or takes up a marked one. FAILED_PRECONDITION as of Check; ABORTED when
  // another process uses it and one of the two wants it alone; errors of the file system.
  static absl::StatusOr<WorkDirectory> Open(const std::string& path, Use use);

  const std::string& path() const { return path_; }
  // Removes an entry (kOwnEntries of the source) with all in it.
  absl::Status Clear(const std::string& entry) const;
  // Removes everything of ours, the marker last, and the folder. One that holds something else stays, and
  // stays marked. Nothing happens while another process works there.
  absl::Status Remove();

 private:
  WorkDirectory(std::string path, FileDescriptor marker)
      : path_(std::move(path)), marker_(std::move(marker)) {}

  std::string path_;
  FileDescriptor marker_;  // locked
};

// Removes what a run has left behind. A folder that is not marked is not touched.
absl::Status RemoveWorkDirectory(const std::string& path);

}  // namespace quantmoe
