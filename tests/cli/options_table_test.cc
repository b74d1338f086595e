#include "tests/cli/options_table.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>

namespace quantmoe::cli {
namespace {

constexpr char kBegin[] = "<!-- The table is written by QUANTMOE_UPDATE_GOLDEN=1 cli_test. -->\n";

TEST(OptionsTableTest, TheDocumentHasTheTable) {
  const std::string path = QUANTMOE_DOCS "/options.md";
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string document = bytes.str();
  const size_t begin = document.find(kBegin);
  ASSERT_NE(begin, std::string::npos) << path;
  const std::string above = document.substr(0, begin) + kBegin;
  const std::string wanted = above + OptionsTable();
  if (std::getenv("QUANTMOE_UPDATE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << wanted;
  EXPECT_EQ(document, wanted) << "run cli_test with QUANTMOE_UPDATE_GOLDEN=1 and read the difference";
}

}  // namespace
}  // namespace quantmoe::cli
