#include "tests/client/temporary_directory.h"

#include <stdlib.h>

#include <fstream>
#include <sstream>

namespace quantmoe {

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "quantmoe-client-XXXXXX").string();
  root_ = mkdtemp(pattern.data());
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

std::string TemporaryDirectory::Path(const std::string& name) const {
  return name.empty() ? root_.string() : (root_ / name).string();
}

std::string TemporaryDirectory::Write(const std::string& name, absl::string_view bytes) const {
  std::filesystem::create_directories((root_ / name).parent_path());
  std::ofstream(root_ / name, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return Path(name);
}

std::string TemporaryDirectory::Read(const std::string& name) const {
  std::ifstream file(root_ / name, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool TemporaryDirectory::Exists(const std::string& name) const {
  return std::filesystem::exists(root_ / name);
}

}  // namespace quantmoe
