#include "worker/blob_access.h"

#include <unistd.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/worker/fake_blob_service.h"

namespace quantmoe {
namespace {

class BlobAccessTest : public testing::Test {
 protected:
  BlobAccessTest() : metrics_("test", "cpu", 0), stub_(service_.MakeStub()) {
    dir_.Write("probe", "random text");
    welcome_.set_blob_dir(dir_.path());
    welcome_.set_blob_dir_probe("probe");
    welcome_.set_blob_dir_probe_text("random text");
    streamed_.cache_dir = dir_ / "cache";
  }

  absl::StatusOr<BlobAccess> Open(BlobMode mode, const BlobAccess& current = {}) {
    return OpenBlobs(mode, welcome_, current, streamed_, *stub_, metrics_);
  }

  const TemporaryDirectory dir_;
  v1::Welcome welcome_;
  StreamedBlobStore::Options streamed_;
  FakeBlobService service_;
  WorkerMetrics metrics_;
  std::unique_ptr<v1::BlobService::Stub> stub_;
};

TEST_F(BlobAccessTest, AutoUsesTheDirectoryWhoseProbeMatches) {
  ASSERT_OK_AND_ASSIGN(const BlobAccess access, Open(BlobMode::kAuto));
  EXPECT_EQ(access.shared_dir, dir_.path());
  ASSERT_OK_AND_ASSIGN(const Digest digest, access.store->Put("direct"));
  EXPECT_FALSE(service_.Has(digest));
}

TEST_F(BlobAccessTest, AutoStreamsWhenTheProbeHasAnotherText) {
  welcome_.set_blob_dir_probe_text("written on another machine");
  ASSERT_OK_AND_ASSIGN(const BlobAccess access, Open(BlobMode::kAuto));
  EXPECT_EQ(access.shared_dir, "");
  ASSERT_OK_AND_ASSIGN(const Digest digest, access.store->Put("streamed"));
  EXPECT_TRUE(service_.Has(digest));
}

TEST_F(BlobAccessTest, AnEmptyProbeTextProvesNothing) {
  welcome_.set_blob_dir_probe("missing");
  welcome_.set_blob_dir_probe_text("");
  EXPECT_THAT(CheckSharedDirectory(welcome_), HasReason("BLOB_DIR_NOT_SHARED"));
}

TEST_F(BlobAccessTest, StreamedIgnoresAMatchingProbe) {
  ASSERT_OK_AND_ASSIGN(const BlobAccess access, Open(BlobMode::kStreamed));
  EXPECT_EQ(access.shared_dir, "");
}

TEST_F(BlobAccessTest, SharedFailsWithoutTheProbe) {
  welcome_.set_blob_dir_probe("missing");
  EXPECT_THAT(Open(BlobMode::kShared), HasReason("BLOB_DIR_NOT_SHARED"));
}

// As of another user's coordinator. Root may write everywhere, so it acts as nobody here.
TEST_F(BlobAccessTest, ADirectoryThatCannotBeWrittenToIsNotUsed) {
  const std::filesystem::path staging = dir_ / "staging";
  std::filesystem::create_directory(staging);
  std::filesystem::permissions(dir_.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(staging, std::filesystem::perms(0555));
  const bool root = geteuid() == 0;
  ASSERT_TRUE(!root || seteuid(65534) == 0);
  const absl::Status shared = CheckSharedDirectory(welcome_);
  ASSERT_TRUE(!root || seteuid(0) == 0);
  EXPECT_THAT(shared, HasReason("BLOB_DIR_NOT_SHARED"));
  EXPECT_THAT(std::string(shared.message()), testing::HasSubstr("cannot be written to: Permission denied"));
}

TEST_F(BlobAccessTest, ANewSessionKeepsTheStore) {
  ASSERT_OK_AND_ASSIGN(const BlobAccess first, Open(BlobMode::kStreamed));
  ASSERT_OK_AND_ASSIGN(const BlobAccess second, Open(BlobMode::kStreamed, first));
  EXPECT_EQ(first.store, second.store);
  ASSERT_OK_AND_ASSIGN(const BlobAccess shared, Open(BlobMode::kAuto, first));
  EXPECT_NE(first.store, shared.store);
}

TEST(BlobModeTest, NamesAreChecked) {
  EXPECT_THAT(ParseBlobMode("streamed"), IsOkAndHolds(BlobMode::kStreamed));
  EXPECT_THAT(ParseBlobMode("stream"), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace quantmoe
