#include "tests/cli/options_table.h"

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>

#include "tests/support/temporary_directory.h"

namespace quantmoe::cli {
namespace {

constexpr char kBegin[] = "<!-- The table is written by QUANTMOE_UPDATE_GOLDEN=1 cli_test. -->\n";

TEST(OptionsTableTest, TheDocumentHasTheTable) {
  const std::string path = QUANTMOE_DOCS "/options.md";
  const std::string document = ReadTestFile(path);
  const size_t begin = document.find(kBegin);
  ASSERT_NE(begin, std::string::npos) << path;
  const std::string above = document.substr(0, begin) + kBegin;
  const std::string wanted = above + OptionsTable();
  if (std::getenv("QUANTMOE_UPDATE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << wanted;
  EXPECT_EQ(document, wanted) << "run cli_test with QUANTMOE_UPDATE_GOLDEN=1 and read the difference";
}

}  // namespace
}  // namespace quantmoe::cli
