#include "tests/client/golden.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "gtest/gtest.h"

namespace quantmoe {

void ExpectGolden(const std::string& name, const std::string& text) {
  const std::string path = std::string(QUANTMOE_GOLDEN) + "/" + name;
  if (std::getenv("QUANTMOE_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << text;
    return;
  }
  std::ifstream file(path, std::ios::binary);
  ASSERT_TRUE(file) << path;
  std::ostringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(text, expected.str()) << path;
}

}  // namespace quantmoe
