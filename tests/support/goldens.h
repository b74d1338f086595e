// The files of testdata/, and the tiny checkpoints of testdata/goldens; a test that walks them needs no list
// of its own.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/temporary_directory.h"

namespace quantmoe {

// The bytes of testdata/`path`; empty when there is no such file.
inline std::string ReadTestdata(const std::string& path) {
  return ReadTestFile(std::string(QUANTMOE_TESTDATA "/") + path);
}

// Their names, sorted.
inline std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(QUANTMOE_TESTDATA) + "/goldens")) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace quantmoe
