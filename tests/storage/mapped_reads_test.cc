#include "storage/mapped_reads.h"

#include <signal.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/error_info.h"
#include "storage/digest.h"
#include "storage/mapped_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr size_t kBytes = 1 << 20;

class MappedReadsTest : public testing::Test {
 protected:
  // A file of `kBytes` times 'x' that is mapped, and then cut to `left` bytes.
  MappedFile CutFile(const std::string& name, int64_t left) {
    WriteTestFile(dir_ / name, std::string(kBytes, 'x'));
    auto file = MappedFile::Open(dir_ / name);
    EXPECT_OK(file);
    EXPECT_EQ(::truncate((dir_ / name).c_str(), left), 0);
    return *std::move(file);
  }

  const TemporaryDirectory dir_;
};

TEST_F(MappedReadsTest, WhatIsCutReadsAsZerosAndIsToldByName) {
  const MappedFile file = CutFile("weights", 8192);
  EXPECT_EQ(file.bytes()[8191], 'x');
  EXPECT_OK(CheckMappedRead(file.bytes())) << "nothing was read that is gone";
  EXPECT_EQ(file.bytes()[kBytes - 1], '\0');
  EXPECT_EQ(file.bytes()[8192], '\0');
  EXPECT_EQ(file.bytes()[8191], 'x');
  EXPECT_THAT(CheckMappedRead(file.bytes()),
              AllOf(StatusIs(absl::StatusCode::kDataLoss), HasReason("FILE_CUT"),
                    testing::ResultOf([](const absl::Status& s) { return std::string(s.message()); },
                                      HasSubstr(dir_ / "weights"))));
  EXPECT_THAT(CheckMappedRead(file.bytes().substr(4096)), HasReason("FILE_CUT")) << "a view into it";
}

TEST_F(MappedReadsTest, ABlobThatIsCutIsADamagedBlob) {
  const Digest digest = DigestOf("a blob");
  const MappedFile file = CutFile(digest.sha256, 0);
  EXPECT_EQ(file.bytes()[0], '\0');
  const absl::Status status = CheckMappedRead(file.bytes());
  EXPECT_THAT(status, HasReason("DIGEST_MISMATCH"));
  EXPECT_EQ(GetErrorInfo(status).metadata["sha256"], digest.sha256);
}

TEST_F(MappedReadsTest, AComputationIsToldOfFilesThatItHasLetGo) {
  const MappedReads earlier;
  EXPECT_OK(earlier.Check());
  EXPECT_EQ(CutFile("gone", 0).bytes()[0], '\0');
  EXPECT_THAT(earlier.Check(), HasReason("FILE_CUT"));
  const MappedReads later;
  EXPECT_OK(later.Check());
  const MappedFile held = CutFile("held", 0);
  EXPECT_EQ(held.bytes()[0], '\0');
  const MappedReads latest;
  EXPECT_THAT(latest.Check(), HasReason("FILE_CUT")) << "it may still read the zeros";
}

TEST_F(MappedReadsTest, OtherMappingsAndManyOfThemStayWhole) {
  std::vector<MappedFile> whole;
  WriteTestFile(dir_ / "whole", std::string(kBytes, 'y'));
  for (int i = 0; i < 600; ++i) {
    ASSERT_OK_AND_ASSIGN(MappedFile file, MappedFile::OpenRange(dir_ / "whole", i, kBytes - 600));
    whole.push_back(std::move(file));
  }
  const MappedFile cut = CutFile("cut", 0);
  std::vector<std::thread> readers;
  for (size_t i = 0; i < 4; ++i) {
    readers.emplace_back([&cut, i] { EXPECT_EQ(cut.bytes()[i * (kBytes / 4)], '\0'); });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_THAT(CheckMappedRead(cut.bytes()), HasReason("FILE_CUT"));
  for (const MappedFile& file : whole) {
    EXPECT_EQ(file.bytes().back(), 'y');
    EXPECT_OK(CheckMappedRead(file.bytes()));
  }
}

// A mapping that nobody guards, as of a library.
void ReadBeyondAForeignFile() {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "guarded", "x");
  ASSERT_OK_AND_ASSIGN(const MappedFile guarded, MappedFile::Open(dir / "guarded"));
  char name[] = "/tmp/foreign-XXXXXX";
  const int fd = ::mkstemp(name);
  ::unlink(name);
  void* const start = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  std::_Exit(*static_cast<volatile char*>(start));
}

TEST(MappedReadsDeathTest, AFaultElsewhereStillEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(ReadBeyondAForeignFile(), testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace quantmoe
