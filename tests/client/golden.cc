#include "tests/client/golden.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

#include "tests/support/temporary_directory.h"

namespace quantmoe {

void ExpectGolden(const std::string& name, const std::string& text) {
  const std::string path = std::string(QUANTMOE_GOLDEN) + "/" + name;
  if (std::getenv("QUANTMOE_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << text;
    return;
  }
  ASSERT_TRUE(std::filesystem::exists(path)) << path;
  EXPECT_EQ(text, ReadTestFile(path)) << path;
}

}  // namespace quantmoe
