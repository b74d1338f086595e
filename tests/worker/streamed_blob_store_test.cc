#include "worker/streamed_blob_store.h"

#include <atomic>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "base/error_info.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/worker/fake_blob_service.h"

namespace quantmoe {
namespace {

constexpr int64_t kMebibyte = 1 << 20;

// Bytes that differ everywhere, so that a chunk in the wrong place is noticed.
std::string Pattern(int64_t size, char seed = 1) {
  std::string bytes(size, '\0');
  uint32_t state = static_cast<unsigned char>(seed);
  for (char& byte : bytes) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

class StreamedBlobStoreTest : public testing::Test {
 protected:
  StreamedBlobStoreTest() : metrics_("test", "cpu", 0), stub_(service_.MakeStub()) { store_ = Open(); }

  std::unique_ptr<StreamedBlobStore> Open(int64_t cache_bytes = int64_t{1} << 30) {
    StreamedBlobStore::Options options;
    options.cache_dir = dir_ / "cache";
    options.cache_bytes = cache_bytes;
    options.give_up_after = give_up_after_;
    options.backoff = {.initial = absl::Milliseconds(1), .maximum = absl::Milliseconds(5), .multiplier = 2};
    options.cancelled = [this] {
      return cancelled_ || service_.download_offsets().size() >= cancel_after_downloads_;
    };
    auto store = StreamedBlobStore::Open(options, *stub_, metrics_);
    EXPECT_OK(store);
    return *std::move(store);
  }

  const TemporaryDirectory dir_;
  absl::Duration give_up_after_ = absl::Seconds(30);
  std::atomic<bool> cancelled_{false};
  size_t cancel_after_downloads_ = 1000;
  FakeBlobService service_;
  WorkerMetrics metrics_;
  std::unique_ptr<v1::BlobService::Stub> stub_;
  std::unique_ptr<StreamedBlobStore> store_;
};

TEST_F(StreamedBlobStoreTest, CommitUploadsTheBlob) {
  const std::string bytes = Pattern(5 * kMebibyte + 3);
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put(bytes));
  EXPECT_EQ(digest, DigestOf(bytes));
  EXPECT_TRUE(service_.Has(digest));
  EXPECT_THAT(store_->Contains(digest), IsOkAndHolds(true));
}

TEST_F(StreamedBlobStoreTest, AnEmptyBlobGoesBothWays) {
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put(""));
  EXPECT_TRUE(service_.Has(digest));
  std::filesystem::remove_all(dir_ / "cache");
  store_ = Open();
  ASSERT_OK_AND_ASSIGN(const MappedFile file, store_->Open(digest));
  EXPECT_EQ(file.bytes(), "");
}

TEST_F(StreamedBlobStoreTest, ABlobThatIsThereIsNotUploadedAgain) {
  service_.Store("known");
  ASSERT_OK(store_->Put("known"));
  EXPECT_EQ(service_.uploads(), 0);
}

TEST_F(StreamedBlobStoreTest, ABrokenUploadGoesOnWhereItStopped) {
  service_.BreakStreams(/*times=*/2, /*after_bytes=*/2 * kMebibyte);
  const std::string bytes = Pattern(7 * kMebibyte);
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put(bytes));
  EXPECT_TRUE(service_.Has(digest));
  EXPECT_THAT(service_.upload_offsets(), testing::ElementsAre(0, 2 * kMebibyte, 4 * kMebibyte));
}

TEST_F(StreamedBlobStoreTest, ABrokenDownloadGoesOnWhereItStopped) {
  const std::string bytes = Pattern(7 * kMebibyte);
  const Digest digest = service_.Store(bytes);
  service_.BreakStreams(/*times=*/2, /*after_bytes=*/3 * kMebibyte);
  ASSERT_OK_AND_ASSIGN(const MappedFile file, store_->Open(digest));
  EXPECT_TRUE(file.bytes() == bytes);
  EXPECT_THAT(service_.download_offsets(), testing::ElementsAre(0, 3 * kMebibyte, 6 * kMebibyte));
}

TEST_F(StreamedBlobStoreTest, AnotherProcessGoesOnWithAPartialDownload) {
  const std::string bytes = Pattern(4 * kMebibyte);
  const Digest digest = service_.Store(bytes);
  service_.BreakStreams(/*times=*/1, /*after_bytes=*/kMebibyte);
  cancel_after_downloads_ = 2;
  EXPECT_THAT(store_->Open(digest), StatusIs(absl::StatusCode::kCancelled));
  cancel_after_downloads_ = 1000;
  store_ = Open();
  ASSERT_OK_AND_ASSIGN(const MappedFile file, store_->Open(digest));
  EXPECT_TRUE(file.bytes() == bytes);
  EXPECT_THAT(service_.download_offsets(), testing::ElementsAre(0, kMebibyte, kMebibyte));
}

TEST_F(StreamedBlobStoreTest, DamagedBytesAreFetchedAgain) {
  const Digest digest = service_.Store(Pattern(kMebibyte));
  service_.DamageNextDownload();
  ASSERT_OK_AND_ASSIGN(const MappedFile file, store_->Open(digest));
  EXPECT_EQ(DigestOf(file.bytes()), digest);
  EXPECT_EQ(service_.download_offsets().size(), 2u);
}

TEST_F(StreamedBlobStoreTest, BytesThatAreDamagedOnEveryWayAreDataLossOfTheBlob) {
  const Digest digest = service_.Store(Pattern(kMebibyte));
  service_.DamageDownloads(1000);
  const absl::Status lost = store_->Open(digest).status();
  EXPECT_THAT(lost, testing::AllOf(StatusIs(absl::StatusCode::kDataLoss), HasReason("DIGEST_MISMATCH")));
  EXPECT_EQ(GetErrorInfo(lost).metadata.at("sha256"), digest.sha256);
  EXPECT_LT(service_.download_offsets().size(), 10u);
}

TEST_F(StreamedBlobStoreTest, AnUploadThatArrivesDamagedIsSentAgain) {
  service_.DamageUploads(2);
  ASSERT_OK_AND_ASSIGN(const Digest digest, store_->Put(Pattern(kMebibyte)));
  EXPECT_TRUE(service_.Has(digest));
  EXPECT_EQ(service_.uploads(), 3);
  service_.DamageUploads(1000);
  EXPECT_THAT(store_->Put(Pattern(kMebibyte, 2)), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(StreamedBlobStoreTest, AForeignPartOfADownloadIsForgotten) {
  const Digest digest = service_.Store(Pattern(kMebibyte));
  for (const int64_t size : {int64_t{10}, 2 * kMebibyte}) {
    dir_.Write("cache/staging/partial-" + digest.sha256, std::string(static_cast<size_t>(size), 'x'));
    ASSERT_OK_AND_ASSIGN(const MappedFile file, store_->Open(digest));
    EXPECT_EQ(DigestOf(file.bytes()), digest);
    store_.reset();
    std::filesystem::remove_all(dir_ / "cache");
    store_ = Open();
  }
}

TEST_F(StreamedBlobStoreTest, ASecondReadComesFromTheCache) {
  const Digest digest = service_.Store("cached");
  ASSERT_OK(store_->Open(digest));
  service_.SetDown(true);
  ASSERT_OK_AND_ASSIGN(const MappedFile file, store_->Open(digest));
  EXPECT_EQ(file.bytes(), "cached");
}

TEST_F(StreamedBlobStoreTest, TheCacheForgetsWhatWasNotUsedForLongest) {
  store_ = Open(/*cache_bytes=*/250);
  const Digest a = service_.Store(Pattern(100, 1));
  const Digest b = service_.Store(Pattern(100, 2));
  const Digest c = service_.Store(Pattern(100, 3));
  ASSERT_OK(store_->Open(a));
  ASSERT_OK_AND_ASSIGN(const MappedFile held, store_->Open(b));
  ASSERT_OK(store_->Open(a));
  ASSERT_OK(store_->Open(c));
  EXPECT_EQ(store_->cached_bytes(), 200);
  EXPECT_EQ(DigestOf(held.bytes()), b) << "an evicted blob stays readable for who has it open";
  service_.SetDown(true);
  give_up_after_ = absl::ZeroDuration();
  store_ = Open(/*cache_bytes=*/250);
  EXPECT_OK(store_->Open(a));
  EXPECT_OK(store_->Open(c));
  EXPECT_THAT(store_->Open(b), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(StreamedBlobStoreTest, AMissingBlobIsNotFoundAtOnce) {
  EXPECT_THAT(store_->Open(DigestOf("never stored")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->Contains(DigestOf("never stored")), IsOkAndHolds(false));
}

TEST_F(StreamedBlobStoreTest, GivesUpWhenNothingMoves) {
  give_up_after_ = absl::Milliseconds(20);
  store_ = Open();
  const Digest digest = service_.Store("unreachable");
  service_.SetDown(true);
  EXPECT_THAT(store_->Open(digest), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(store_->Put("not uploaded"), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(StreamedBlobStoreTest, CancellationEndsARetryingTransfer) {
  const Digest digest = service_.Store("unreachable");
  service_.SetDown(true);
  std::thread canceller([this] { cancelled_ = true; });
  EXPECT_THAT(store_->Open(digest), StatusIs(absl::StatusCode::kCancelled));
  canceller.join();
}

TEST_F(StreamedBlobStoreTest, ConcurrentReadersDownloadOnce) {
  const Digest digest = service_.Store(Pattern(3 * kMebibyte));
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] { EXPECT_OK(store_->Open(digest)); });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(service_.download_offsets().size(), 1u);
}

}  // namespace
}  // namespace quantmoe
