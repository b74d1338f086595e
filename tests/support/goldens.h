// The tiny checkpoints of testdata/goldens; a test that walks them needs no list of its own.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace quantmoe {

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
