#include "sources/hub_cache.h"

#include <unistd.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include <sys/stat.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

class HubCacheTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(cache_, HubCache::Open(dir_ / "cache", 0)); }

  // Fills with `bytes` and counts.
  HubCache::Fill Bytes(const std::string& bytes) {
    return [this, bytes](int fd, int64_t present) {
      ++fills_;
      present_ = present;
      return ::pwrite(fd, bytes.data(), bytes.size(), 0) < 0 ? absl::InternalError("pwrite")
                                                             : absl::OkStatus();
    };
  }

  std::string Get(HubCache& cache, const std::string& key, int64_t offset, const std::string& bytes) {
    const auto map =
        cache.FindOrFill(key, offset, static_cast<int64_t>(bytes.size()), /*resumable=*/false, Bytes(bytes));
    return map.ok() ? std::string(map->bytes()) : map.status().ToString();
  }

  const TemporaryDirectory dir_;
  std::unique_ptr<HubCache> cache_;
  int fills_ = 0;
  int64_t present_ = -1;
};

TEST_F(HubCacheTest, ARangeIsFetchedOnceByAllWhoShareTheFolder) {
  EXPECT_EQ(Get(*cache_, "ab01", 10, "hello"), "hello");
  EXPECT_EQ(Get(*cache_, "ab01", 10, "other"), "hello");
  ASSERT_OK_AND_ASSIGN(const auto other, HubCache::Open(dir_ / "cache", 0));
  EXPECT_EQ(Get(*other, "ab01", 10, "other"), "hello");
  EXPECT_EQ(fills_, 1);
  EXPECT_EQ(Get(*other, "ab02", 10, "other"), "other");
}

TEST_F(HubCacheTest, ACacheThatIsEmptiedWhileItIsInUseGoesOn) {
  for (const std::string removed : {"cache/documents", "cache/files", "cache"}) {
    Get(*cache_, "ab01", 10, "hello");
    ASSERT_OK(cache_->PutDocument("list", "old"));
    std::filesystem::remove_all(dir_ / removed);
    EXPECT_OK(cache_->PutDocument("list", "text"));
    EXPECT_EQ(cache_->FindDocument("list"), "text");
    EXPECT_EQ(Get(*cache_, "ab01", 10, "hello"), "hello");
    struct stat info {};
    ASSERT_EQ(::stat((dir_ / "cache").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u) << "models may be private";
  }
}

TEST_F(HubCacheTest, AStoredRangeServesItsParts) {
  Get(*cache_, "ab01", 10, "hello");
  EXPECT_EQ(Get(*cache_, "ab01", 11, "ELL"), "ell");
  EXPECT_TRUE(cache_->Holds("ab01", 12, 3));
  EXPECT_FALSE(cache_->Holds("ab01", 12, 4));
  EXPECT_FALSE(cache_->Holds("ab01", 9, 2));
  EXPECT_EQ(Get(*cache_, "ab01", 12, "LONG"), "LONG");
}

TEST_F(HubCacheTest, AFailedRangeLeavesNothingUnlessItCanGoOn) {
  const auto fail = [](int fd, int64_t) {
    (void)!::pwrite(fd, "he", 2, 0);
    return absl::UnavailableError("broken");
  };
  EXPECT_THAT(cache_->FindOrFill("ab01", 0, 5, /*resumable=*/false, fail),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_FALSE(cache_->Holds("ab01", 0, 1));
  EXPECT_EQ(Get(*cache_, "ab01", 0, "hello"), "hello");
  EXPECT_EQ(present_, 0);
  EXPECT_FALSE(cache_->FindOrFill("ab02", 0, 5, /*resumable=*/true, fail).ok());
  EXPECT_OK(cache_->FindOrFill("ab02", 0, 5, /*resumable=*/true, Bytes("hello")));
  EXPECT_EQ(present_, 2);
}

TEST_F(HubCacheTest, ARangeOfAnotherLengthIsNotStored) {
  EXPECT_FALSE(cache_->FindOrFill("ab01", 0, 7, /*resumable=*/false, Bytes("hello")).ok());
  EXPECT_FALSE(cache_->Holds("ab01", 0, 5));
}

TEST_F(HubCacheTest, ARangeThatWasCutShortIsFetchedOnceMore) {
  Get(*cache_, "ab", 0, "hello world");
  std::filesystem::resize_file(dir_ / "cache/files/ab/ab/0-11", 3);
  EXPECT_EQ(Get(*cache_, "ab", 6, "world"), "world");
  EXPECT_EQ(Get(*cache_, "ab", 6, "xxxxx"), "world");
  EXPECT_EQ(fills_, 2);
}

TEST_F(HubCacheTest, WhoWantsTheSameRangeWaitsForIt) {
  ASSERT_OK_AND_ASSIGN(const auto other, HubCache::Open(dir_ / "cache", 0));
  absl::Notification filling;
  std::thread second;
  const auto slow = [&](int fd, int64_t) {
    second = std::thread([&] { EXPECT_EQ(Get(*other, "ab01", 1, "xx"), "el"); });
    EXPECT_EQ(Get(*other, "ab01", 100, "apart"), "apart");  // nobody waits for another range
    return ::pwrite(fd, "hello", 5, 0) == 5 ? absl::OkStatus() : absl::InternalError("pwrite");
  };
  EXPECT_OK(cache_->FindOrFill("ab01", 0, 5, /*resumable=*/false, slow));
  second.join();
  EXPECT_EQ(fills_, 1);
}

TEST_F(HubCacheTest, WhatWasUsedLongestAgoGoesFirst) {
  Get(*cache_, "aa", 0, std::string(100, 'a'));
  Get(*cache_, "bb", 0, std::string(100, 'b'));
  Get(*cache_, "cc", 0, std::string(100, 'c'));
  const auto now = std::filesystem::file_time_type::clock::now();
  const auto age = [&](const std::string& key, int hours) {
    std::filesystem::last_write_time(absl::StrCat(dir_ / "cache/files/", key, "/", key, "/0-100"),
                                     now - std::chrono::hours(hours));
  };
  age("aa", 1);
  age("bb", 3);
  age("cc", 2);
  ASSERT_OK_AND_ASSIGN(const auto small, HubCache::Open(dir_ / "cache", 200));
  EXPECT_TRUE(small->Holds("aa", 0, 100));
  EXPECT_FALSE(small->Holds("bb", 0, 100));
  EXPECT_TRUE(small->Holds("cc", 0, 100));
  Get(*small, "aa", 0, std::string(100, 'x'));  // now it is the newest
  EXPECT_EQ(Get(*small, "dd", 0, std::string(100, 'd')), std::string(100, 'd'));
  EXPECT_TRUE(small->Holds("aa", 0, 100));
  EXPECT_FALSE(small->Holds("cc", 0, 100));
}

TEST_F(HubCacheTest, KeepsDocumentsAndOthersOut) {
  EXPECT_EQ(cache_->FindDocument("ab"), std::nullopt);
  EXPECT_OK(cache_->PutDocument("ab", "text"));
  EXPECT_EQ(cache_->FindDocument("ab"), "text");
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "cache").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

}  // namespace
}  // namespace quantmoe
