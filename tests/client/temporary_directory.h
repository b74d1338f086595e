// A directory of one test, removed with everything in it.
#pragma once

#include <filesystem>
#include <string>

#include "absl/strings/string_view.h"

namespace quantmoe {

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  std::string Path(const std::string& name = "") const;
  // Writes a file, with the directories above it, and gives its path.
  std::string Write(const std::string& name, absl::string_view bytes) const;
  // The file's bytes; empty when there is none.
  std::string Read(const std::string& name) const;
  bool Exists(const std::string& name) const;

 private:
  std::filesystem::path root_;
};

}  // namespace quantmoe
