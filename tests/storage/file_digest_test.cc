#include "storage/file_digest.h"

#include <string>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

TEST(FileDigest, IsTheDigestOfTheBytesHoweverManyReadsItTakes) {
  const TemporaryDirectory dir;
  for (const size_t size : {size_t{0}, size_t{3}, (size_t{2} << 20) - 1, size_t{2} << 20, size_t{5} << 20}) {
    std::string bytes(size, 'x');
    if (size > 0) bytes.back() = 'y';
    WriteTestFile(dir / "f", bytes);
    EXPECT_THAT(DigestOfFile(dir / "f"), IsOkAndHolds(DigestOf(bytes))) << size;
  }
}

TEST(FileDigest, WhatCannotBeReadHasNone) {
  const TemporaryDirectory dir;
  EXPECT_THAT(DigestOfFile(dir / "missing"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(DigestOfFile(dir.path()), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace quantmoe
