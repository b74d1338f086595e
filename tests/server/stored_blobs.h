// The blobs of a coordinator as files: where they are, rot, and a disk that does not answer.
#pragma once

#include <fcntl.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/file.h>

#include "quantmoe/v1/types.pb.h"
#include "storage/durable_file.h"

namespace quantmoe {

inline std::filesystem::path PathOfBlob(const std::string& data_dir, const v1::Digest& digest) {
  const std::string& name = digest.sha256();
  return std::filesystem::path(data_dir) / "blobs/sha256" / name.substr(0, 2) / name.substr(2, 2) / name;
}

// Another first byte, and the same size.
inline void DamageBlob(const std::string& data_dir, const v1::Digest& digest) {
  const std::filesystem::path path = PathOfBlob(data_dir, digest);
  std::filesystem::permissions(path, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const char first = static_cast<char>(file.get() ^ 1);
  file.seekp(0);
  file.put(first);
}

// While it lives, a disk does not answer some of what the coordinator asks of its blobs.
class StillDisk {
 public:
  enum class For {
    kEveryQuestion,  // also whether a blob is there
    kDamagedBlobs,   // whoever has read one waits until it is set aside
  };
  explicit StillDisk(const std::string& data_dir, For whom = For::kEveryQuestion)
      : lock_(::open((data_dir + "/blobs/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    EXPECT_EQ(::flock(lock_.get(), whom == For::kEveryQuestion ? LOCK_EX : LOCK_SH), 0);
  }

 private:
  const FileDescriptor lock_;
};

}  // namespace quantmoe
