#include "storage/blob_store.h"

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::AllOf;

class LocalBlobs : public testing::Test {
 protected:
  void SetUp() override { store_ = OpenStore(); }

  std::unique_ptr<LocalBlobStore> OpenStore() {
    auto store = LocalBlobStore::Open(dir_ / "blobs");
    EXPECT_OK(store);
    return *std::move(store);
  }

  size_t StagedFiles() const {
    const std::filesystem::directory_iterator files(dir_ / "blobs/staging");
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

  bool StagedFilesAreGone() const { return !std::filesystem::exists(dir_ / "blobs/staging"); }

  void Overwrite(const Digest& digest, absl::string_view bytes) {
    std::filesystem::remove(store_->PathOf(digest));
    WriteTestFile(store_->PathOf(digest), bytes);
  }

  const TemporaryDirectory dir_;
  std::unique_ptr<LocalBlobStore> store_;
};

TEST_F(LocalBlobs, WhatIsPutIsReadByEveryStoreOnTheDirectory) {
  const auto other = OpenStore();
  for (const std::string bytes : {"", "hello"}) {
    ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put(bytes));
    EXPECT_EQ(digest, DigestOf(bytes));
    ASSERT_OK_AND_ASSIGN(const MappedFile read, other->Open(digest));
    EXPECT_EQ(read.bytes(), bytes);
    EXPECT_THAT(other->Contains(digest), IsOkAndHolds(true));
  }
  EXPECT_EQ(StagedFiles(), 0u);
}

TEST_F(LocalBlobs, PathsAreSpreadByTheDigest) {
  const Digest digest = DigestOf("abc");
  EXPECT_EQ(store_->PathOf(digest), (dir_ / "blobs/sha256/ba/78/") + digest.sha256);
}

TEST_F(LocalBlobs, MissingBlobsAreNotFound) {
  EXPECT_THAT(store_->Open(DigestOf("x")),
              AllOf(StatusIs(absl::StatusCode::kNotFound), HasReason("BLOB_NOT_FOUND")));
  EXPECT_THAT(store_->Contains(DigestOf("x")), IsOkAndHolds(false));
}

TEST_F(LocalBlobs, ADigestCannotNameAnotherFile) {
  const Digest bad{"../../../../../../etc/passwd", 1};
  EXPECT_THAT(store_->Open(bad), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_->Contains(bad), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_->AppendPartial(bad, 0, "x"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_->PartialSize(bad), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(store_->CommitPartial(bad), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(LocalBlobs, AnUncommittedBlobIsInvisibleAndLeavesNothing) {
  {
    ASSERT_OK_AND_ASSIGN(const auto writer, store_->Create());
    ASSERT_OK(writer->Append("hello"));
    EXPECT_THAT(store_->Contains(DigestOf("hello")), IsOkAndHolds(false));
    EXPECT_EQ(StagedFiles(), 1u);
  }
  EXPECT_EQ(StagedFiles(), 0u);
}

TEST_F(LocalBlobs, AWriterCommitsOnce) {
  ASSERT_OK_AND_ASSIGN(const auto writer, store_->Create());
  ASSERT_OK(writer->Append("hel"));
  ASSERT_OK(writer->Append("lo"));
  EXPECT_THAT(writer->Commit(), IsOkAndHolds(DigestOf("hello")));
  EXPECT_THAT(writer->Commit(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(writer->Append("x"), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(LocalBlobs, TheStagingFileOfAKilledProcessIsInvisibleAndCollected) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto writer = store_->Create();
    ::_exit(writer.ok() && (*writer)->Append("torn").ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(StagedFiles(), 1u);
  EXPECT_THAT(OpenStore()->Contains(DigestOf("torn")), IsOkAndHolds(false));
  const auto none_live = [](const std::string&) { return false; };
  EXPECT_THAT(store_->CollectGarbage(none_live, absl::Hours(1), absl::Now()), IsOkAndHolds(0));
  EXPECT_EQ(StagedFiles(), 1u);
  EXPECT_THAT(store_->CollectGarbage(none_live, absl::Hours(1), absl::Now() + absl::Hours(2)),
              IsOkAndHolds(4));
  EXPECT_EQ(StagedFiles(), 0u);
}

TEST_F(LocalBlobs, DamagedBytesAreDataLossAndAnotherPutRepairsThem) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put("hello"));
  for (const char* damaged : {"hellO", "hell", "helloo", ""}) {
    Overwrite(digest, damaged);
    const auto fresh = OpenStore();
    EXPECT_THAT(fresh->Open(digest),
                AllOf(StatusIs(absl::StatusCode::kDataLoss), HasReason("DIGEST_MISMATCH")));
  }
  ASSERT_OK(store_->Put("hello"));
  EXPECT_OK(OpenStore()->Open(digest));
}

TEST_F(LocalBlobs, ATruncationIsSeenAfterTheFirstRead) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put("hello"));
  ASSERT_OK(store_->Open(digest));
  Overwrite(digest, "hell");
  EXPECT_THAT(store_->Open(digest), HasReason("DIGEST_MISMATCH"));
}

TEST_F(LocalBlobs, AFailedWriteLeavesNoPart) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const bool refused = !store_->Put(std::string(5000, 'x')).ok();
    const bool undone =
        !store_->AppendPartial(DigestOf(std::string(5000, 'y')), 0, std::string(5000, 'y')).ok() &&
        store_->PartialSize(DigestOf(std::string(5000, 'y'))).value_or(-1) == 0;
    ::_exit(refused && undone ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(store_->Contains(DigestOf(std::string(5000, 'x'))), IsOkAndHolds(false));
}

TEST_F(LocalBlobs, UploadsResumeAtTheirSize) {
  const Digest digest = DigestOf("hello world");
  EXPECT_THAT(store_->PartialSize(digest), IsOkAndHolds(0));
  ASSERT_OK(store_->AppendPartial(digest, 0, "hello"));
  const auto other = OpenStore();
  EXPECT_THAT(other->PartialSize(digest), IsOkAndHolds(5));
  for (const int64_t offset : {0, 4, 6}) {
    EXPECT_THAT(other->AppendPartial(digest, offset, "x"), StatusIs(absl::StatusCode::kOutOfRange));
  }
  EXPECT_THAT(other->AppendPartial(digest, 5, " world!"), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(other->Contains(digest), IsOkAndHolds(false));
  ASSERT_OK(other->AppendPartial(digest, 5, " world"));
  ASSERT_OK(other->CommitPartial(digest));
  EXPECT_OK(store_->CommitPartial(digest));  // a retry after a lost answer
  ASSERT_OK_AND_ASSIGN(const MappedFile read, store_->Open(digest));
  EXPECT_EQ(read.bytes(), "hello world");
  EXPECT_EQ(StagedFiles(), 0u);
}

TEST_F(LocalBlobs, AnUploadOfOtherBytesIsRefusedAndDeleted) {
  const Digest digest = DigestOf("hello");
  ASSERT_OK(store_->AppendPartial(digest, 0, "hellO"));
  EXPECT_THAT(store_->CommitPartial(digest),
              AllOf(StatusIs(absl::StatusCode::kInvalidArgument), HasReason("DIGEST_MISMATCH")));
  EXPECT_EQ(StagedFiles(), 0u);
  EXPECT_THAT(store_->CommitPartial(digest), HasReason("BLOB_NOT_FOUND"));
}

TEST_F(LocalBlobs, TheCollectorKeepsLiveAndYoungBlobsAndOpenWriters) {
  ASSERT_OK_AND_ASSIGN(const Digest live, store_->Put("live"));
  ASSERT_OK_AND_ASSIGN(const Digest dead, store_->Put("dead!"));
  ASSERT_OK(store_->AppendPartial(DigestOf("partial"), 0, "part"));
  ASSERT_OK_AND_ASSIGN(const auto writer, store_->Create());
  ASSERT_OK(writer->Append("slow"));
  const auto is_live = [&](const std::string& name) { return name == live.sha256; };
  const absl::Time now = absl::Now();
  EXPECT_THAT(store_->CollectGarbage(is_live, absl::Hours(1), now), IsOkAndHolds(0));
  EXPECT_OK(store_->Open(dead));
  EXPECT_THAT(store_->CollectGarbage(is_live, absl::Hours(1), now + absl::Hours(2)), IsOkAndHolds(9));
  EXPECT_OK(store_->Open(live));
  EXPECT_THAT(store_->Open(dead), HasReason("BLOB_NOT_FOUND"));
  EXPECT_THAT(store_->PartialSize(DigestOf("partial")), IsOkAndHolds(0));
  EXPECT_THAT(writer->Commit(), IsOkAndHolds(DigestOf("slow")));
}

TEST_F(LocalBlobs, AskingForABlobMakesItYoung) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put("x"));
  const std::filesystem::path path = store_->PathOf(digest);
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) - std::chrono::hours(5));
  EXPECT_THAT(store_->Contains(digest), IsOkAndHolds(true));
  const auto none_live = [](const std::string&) { return false; };
  EXPECT_THAT(store_->CollectGarbage(none_live, absl::Hours(1), absl::Now()), IsOkAndHolds(0));
}

TEST_F(LocalBlobs, ManyWritersOfTheSameBlobsAgree) {
  std::vector<std::thread> threads;
  std::vector<absl::Status> results(4);
  for (size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([this, &result = results[i]] {
      const auto mine = OpenStore();
      for (int round = 0; round < 10 && result.ok(); ++round) {
        const auto digest = mine->Put(std::to_string(round));
        result = digest.ok() ? mine->Open(*digest).status() : digest.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) EXPECT_OK(result);
  EXPECT_EQ(StagedFiles(), 0u);
}

// ---- Damage

void FlipABit(const std::string& path) {
  std::filesystem::permissions(path, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const char first = static_cast<char>(file.get() ^ 1);
  file.seekp(0);
  file.put(first);
}

TEST_F(LocalBlobs, ADamagedBlobIsSetAsideAndCountsAsMissing) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put("hello"));
  for (int times = 1; times <= 2; ++times) {
    FlipABit(store_->PathOf(digest));
    EXPECT_THAT(OpenStore()->Open(digest), HasReason("DIGEST_MISMATCH"));
    EXPECT_THAT(store_->Contains(digest), IsOkAndHolds(false));
    EXPECT_THAT(store_->Open(digest), HasReason("BLOB_NOT_FOUND"));
    EXPECT_TRUE(std::filesystem::exists(dir_ / "blobs/quarantine/" + digest.sha256 + ".damaged-" +
                                        std::to_string(times)));
    EXPECT_EQ(store_->quarantined(), times);
    ASSERT_OK(store_->Put("hello"));
    EXPECT_OK(store_->Open(digest));
  }
  const auto none_live = [](const std::string&) { return false; };
  ASSERT_OK(store_->CollectGarbage(none_live, absl::Hours(1), absl::Now() + absl::Hours(6)));
  EXPECT_EQ(store_->quarantined(), 2);
  ASSERT_OK(store_->CollectGarbage(none_live, absl::Hours(1), absl::Now() + absl::Hours(8)));
  EXPECT_EQ(store_->quarantined(), 0);
}

TEST_F(LocalBlobs, AChangeAfterTheFirstReadIsSeenAndAQuestionIsNone) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put("hello"));
  ASSERT_OK(store_->Open(digest));
  EXPECT_THAT(store_->Contains(digest), IsOkAndHolds(true));
  FlipABit(store_->PathOf(digest));
  EXPECT_THAT(store_->Open(digest), HasReason("DIGEST_MISMATCH"));
}

TEST_F(LocalBlobs, VerifyFindsWhatTheFileSystemDoesNotTell) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put("hello"));
  ASSERT_OK(store_->Open(digest));
  const auto before = std::filesystem::last_write_time(store_->PathOf(digest));
  FlipABit(store_->PathOf(digest));
  std::filesystem::last_write_time(store_->PathOf(digest), before);
  EXPECT_THAT(store_->Verify(digest), HasReason("DIGEST_MISMATCH"));
}

TEST_F(LocalBlobs, ACacheDeletesWhatIsDamaged) {
  ASSERT_OK_AND_ASSIGN(const auto cache, LocalBlobStore::Open(dir_ / "cache", DamagedBlobs::kDelete));
  ASSERT_OK_AND_ASSIGN(const Digest digest, cache->Put("hello"));
  FlipABit(cache->PathOf(digest));
  EXPECT_THAT(cache->Open(digest), HasReason("DIGEST_MISMATCH"));
  EXPECT_FALSE(std::filesystem::exists(cache->PathOf(digest)));
  EXPECT_EQ(cache->quarantined(), 0);
}

TEST_F(LocalBlobs, EnsureWritesOnlyWhatIsNotThereIntact) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Ensure("hello"));
  const auto written = std::filesystem::last_write_time(store_->PathOf(digest));
  ASSERT_OK(store_->Ensure("hello"));
  EXPECT_EQ(std::filesystem::last_write_time(store_->PathOf(digest)), written);
  FlipABit(store_->PathOf(digest));
  ASSERT_OK(store_->Ensure("hello"));
  EXPECT_OK(OpenStore()->Open(digest));
}

TEST_F(LocalBlobs, UploadersDoNotSeeEachOthersParts) {
  const Digest digest = DigestOf("hello world");
  ASSERT_OK(store_->AppendPartial(digest, 0, "HELLO", "stale"));
  EXPECT_THAT(store_->PartialSize(digest, "mine"), IsOkAndHolds(0));
  ASSERT_OK(store_->AppendPartial(digest, 0, "hello", "mine"));
  ASSERT_OK(store_->AppendPartial(digest, 5, " world", "mine"));
  ASSERT_OK(store_->CommitPartial(digest, "mine"));
  EXPECT_OK(store_->Open(digest));
  EXPECT_THAT(store_->PartialSize(digest, "stale"), IsOkAndHolds(5));
  ASSERT_OK(store_->DropPartial(digest, "stale"));
  EXPECT_THAT(store_->PartialSize(digest, "stale"), IsOkAndHolds(0));
  EXPECT_THAT(store_->PartialSize(digest, "../x"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(LocalBlobs, APartLongerThanTheBlobIsForgotten) {
  const Digest digest = DigestOf("hello");
  WriteTestFile(dir_ / "blobs/staging/partial-" + digest.sha256, "something else");
  EXPECT_THAT(store_->PartialSize(digest), IsOkAndHolds(0));
  ASSERT_OK(store_->AppendPartial(digest, 0, "hello"));
  EXPECT_OK(store_->CommitPartial(digest));
}

// ---- Folders that somebody removes

// The folder that is removed, below the store's; empty: the store's own.
class RemovedFolders : public LocalBlobs, public testing::WithParamInterface<const char*> {
 protected:
  void Remove() const { std::filesystem::remove_all(dir_ / "blobs/" + GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Folders, RemovedFolders, testing::Values("", "sha256", "staging", "quarantine"));

TEST_P(RemovedFolders, AreMadeAgainByWhateverNeedsThem) {
  const auto none_live = [](const std::string&) { return false; };
  const std::vector<std::function<void()>> uses = {
      [&] { EXPECT_THAT(store_->Put("a"), IsOkAndHolds(DigestOf("a"))); },
      [&] { EXPECT_OK(store_->Contains(DigestOf("a"))); },
      [&] { EXPECT_OK(store_->Ensure("a")); },
      [&] {
        ASSERT_OK(store_->AppendPartial(DigestOf("part"), 0, "part", "u"));
        EXPECT_OK(store_->CommitPartial(DigestOf("part"), "u"));
      },
      [&] { EXPECT_THAT(store_->PartialSize(DigestOf("other")), IsOkAndHolds(0)); },
      [&] { EXPECT_OK(store_->DropPartial(DigestOf("other"))); },
      [&] { EXPECT_OK(store_->CollectGarbage(none_live, absl::Hours(1), absl::Now())); },
      [&] { EXPECT_EQ(store_->quarantined(), 0); },
  };
  for (const auto& use : uses) {
    Remove();
    use();
  }
  Remove();
  ASSERT_OK(store_->Put("hello"));
  EXPECT_OK(store_->Open(DigestOf("hello")));
}

TEST_P(RemovedFolders, BetweenTheFirstByteAndTheLastLoseNothingButWhatTheyHeld) {
  ASSERT_OK_AND_ASSIGN(const auto writer, store_->Create());
  ASSERT_OK(writer->Append("hello"));
  ASSERT_OK(store_->AppendPartial(DigestOf("hello world"), 0, "hello"));
  Remove();
  const bool bytes_are_gone = StagedFilesAreGone();
  const auto committed = writer->Commit();
  if (bytes_are_gone) {
    EXPECT_THAT(committed, AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("STAGING_LOST")));
    EXPECT_THAT(store_->PartialSize(DigestOf("hello world")), IsOkAndHolds(0)) << "the sender starts again";
  } else {
    EXPECT_THAT(committed, IsOkAndHolds(DigestOf("hello")));
    EXPECT_THAT(store_->PartialSize(DigestOf("hello world")), IsOkAndHolds(5));
  }
}

TEST_F(LocalBlobs, ADamagedBlobIsSetAsideInAQuarantineThatIsMadeAgain) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put("hello"));
  FlipABit(store_->PathOf(digest));
  std::filesystem::remove_all(dir_ / "blobs/quarantine");
  EXPECT_THAT(store_->Open(digest), HasReason("DIGEST_MISMATCH"));
  EXPECT_THAT(store_->Open(digest), HasReason("BLOB_NOT_FOUND"));
  EXPECT_EQ(store_->quarantined(), 1);
}

TEST_F(LocalBlobs, AFullCacheMakesRoomAndGoesOn) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{1000, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int calls = 0;
    store_->OnFullDisk([&] {
      limit.rlim_cur = 3000;
      ::setrlimit(RLIMIT_FSIZE, &limit);
      return ++calls == 1;
    });
    const std::string fits(2500, 'x'), never(5000, 'y');
    const bool made_room = store_->Put(fits).ok() && store_->Open(DigestOf(fits)).ok() && calls == 1;
    const absl::Status full = store_->Put(never).status();
    ::_exit(made_room && GetErrorInfo(full).reason == "DISK_FULL" && calls == 2 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace quantmoe
