#include "sources/hub_directory.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "sources/checkpoint.h"
#include "sources/model_sources.h"
#include "storage/digest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_hub.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Fault = FakeHub::Fault;

constexpr char kWeights[] = "model.safetensors";

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 131) ^ (i >> 8));
  return bytes;
}

class HubDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    hub_.AddFile("config.json", "{\"model_type\":\"x\"}", /*large=*/false);
    hub_.AddFile("empty.txt", "", /*large=*/false);
    hub_.AddFile("folder/inner.json", "{}", /*large=*/false);
    hub_.AddFile("big.bin", big_, /*large=*/true);
    options_.endpoint = hub_.endpoint();
    options_.cache_dir = dir_ / "cache";
    options_.token_from = "env:QUANTMOE_TEST_TOKEN";
    options_.coalesce_gap_bytes = 0;
    options_.clock = &clock_;
    options_.sleep = [this](absl::Duration wait) { waits_.push_back(wait); };
    ::setenv("QUANTMOE_TEST_TOKEN", FakeHub::kToken, 1);
  }
  void TearDown() override { ::unsetenv("QUANTMOE_TEST_TOKEN"); }

  absl::StatusOr<std::unique_ptr<ModelDirectory>> Open(const std::string& revision = "main") {
    return OpenModelDirectory({ModelUri::Scheme::kHub, FakeHub::kRepo, revision}, options_);
  }
  // Of a directory that opens.
  absl::StatusOr<std::string> Read(const std::string& name, int64_t offset, int64_t length) {
    auto directory = Open();
    if (!directory.ok()) return directory.status();
    auto map = (*directory)->Read(name, offset, length);
    if (!map.ok()) return map.status();
    return std::string(map->bytes());
  }
  absl::StatusOr<std::string> ReadBig() { return Read("big.bin", 0, static_cast<int64_t>(big_.size())); }
  absl::StatusOr<std::string> ReadConfig() {
    auto directory = Open();
    if (!directory.ok()) return directory.status();
    return (*directory)->ReadAll("config.json");
  }

  const TemporaryDirectory dir_;
  const std::string big_ = Pattern(300'000);
  FakeHub hub_;
  FakeClock clock_;
  HubOptions options_;
  std::vector<absl::Duration> waits_;
};

TEST_F(HubDirectoryTest, PinsTheRevisionAndListsTheTopLevel) {
  ASSERT_OK_AND_ASSIGN(const auto directory, Open());
  EXPECT_EQ(directory->uri().ToString(), absl::StrCat("hf://", FakeHub::kRepo, "@", FakeHub::kCommit));
  ASSERT_OK_AND_ASSIGN(const std::vector<ModelFile> files, directory->List());
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0].name, "big.bin");
  EXPECT_EQ(files[0].size_bytes, 300'000);
  EXPECT_EQ(files[0].version, DigestOf(big_).sha256);
  EXPECT_EQ(files[1].name, "config.json");
  EXPECT_THAT(directory->ReadAll("config.json"), IsOkAndHolds(std::string("{\"model_type\":\"x\"}")));
  EXPECT_THAT(directory->ReadAll("empty.txt"), IsOkAndHolds(std::string()));
  EXPECT_THAT(directory->ReadAll("big.bin"), IsOkAndHolds(big_));
  EXPECT_THAT(directory->ReadAll("missing"), HasReason("MODEL_FILE_NOT_FOUND"));
  EXPECT_THAT(directory->Read("../x", 0, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_OK(Open("refs/pr/1"));
  EXPECT_OK(Open("v1.beta"));
}

TEST_F(HubDirectoryTest, AFolderIsListedWhenItIsAskedForAndOnlyOnce) {
  ASSERT_OK_AND_ASSIGN(const auto directory, Open());
  EXPECT_EQ(hub_.CountRequests("/tree/"), 1);
  EXPECT_THAT(directory->ReadAll("folder/inner.json"), IsOkAndHolds(std::string("{}")));
  ASSERT_OK_AND_ASSIGN(const std::vector<ModelFile> files, directory->ListFolder("folder"));
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].name, "folder/inner.json");
  EXPECT_EQ(hub_.CountRequests("/tree/"), 2);
  EXPECT_THAT(directory->Read("folder/missing", 0, 1), HasReason("MODEL_FILE_NOT_FOUND"));
  EXPECT_THAT(directory->Read("folder/../config.json", 0, 1), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(HubDirectoryTest, ACommitNeedsNoQuestionAndItsListIsAskedForOnce) {
  EXPECT_OK(Open(FakeHub::kCommit));
  EXPECT_OK(Open(FakeHub::kCommit));
  EXPECT_EQ(hub_.CountRequests("/revision/"), 0);
  EXPECT_EQ(hub_.CountRequests("/tree/"), 1);
}

TEST_F(HubDirectoryTest, FollowsThePagesOfTheList) {
  hub_.SetFilesPerPage(1);
  ASSERT_OK_AND_ASSIGN(const auto directory, Open());
  ASSERT_OK_AND_ASSIGN(const std::vector<ModelFile> files, directory->List());
  EXPECT_EQ(files.size(), 3u);
  EXPECT_EQ(hub_.CountRequests("/tree/"), 3);
}

TEST_F(HubDirectoryTest, TheNextPageIsNotFetchedFromAnotherHost) {
  hub_.Fail("/tree/", {.headers = {{"Link", absl::StrCat("<", hub_.cdn(), "/next>; rel=\"next\"")}}});
  EXPECT_THAT(Open(), HasReason("HUB_PROTOCOL"));
  EXPECT_EQ(hub_.CountRequests("/next"), 0);
}

TEST_F(HubDirectoryTest, RangesFetchNoMoreThanTheirBytes) {
  EXPECT_THAT(Read("big.bin", 1000, 5), IsOkAndHolds(big_.substr(1000, 5)));
  EXPECT_THAT(Read("big.bin", 299'999, 1), IsOkAndHolds(big_.substr(299'999)));
  EXPECT_EQ(hub_.file_bytes_sent(), 6);
  EXPECT_THAT(Read("big.bin", 299'999, 2), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(Read("big.bin", -1, 2), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_F(HubDirectoryTest, DirectoriesShareWhatOneHasFetched) {
  EXPECT_THAT(Read("big.bin", 1000, 500), IsOkAndHolds(big_.substr(1000, 500)));
  EXPECT_OK(ReadConfig());
  const int64_t sent = hub_.file_bytes_sent();
  EXPECT_THAT(Read("big.bin", 1100, 50), IsOkAndHolds(big_.substr(1100, 50)));
  EXPECT_OK(ReadConfig());
  EXPECT_EQ(hub_.file_bytes_sent(), sent);
}

TEST_F(HubDirectoryTest, PrefetchJoinsNeighboursAndLeavesOutWhatIsThere) {
  ASSERT_OK_AND_ASSIGN(const auto directory, Open());
  ASSERT_OK(directory->Read("big.bin", 500, 100));
  const int before = hub_.CountRequests("/resolve/");
  ASSERT_OK(directory->Prefetch("big.bin", {{300, 100}, {100, 200}, {500, 100}, {800, 10}, {700, 0}}));
  EXPECT_EQ(hub_.CountRequests("/resolve/") - before, 2);  // 100 to 400, and 800 to 810
  EXPECT_EQ(hub_.file_bytes_sent(), 100 + 300 + 10);
  ASSERT_OK_AND_ASSIGN(const MappedFile map, directory->Read("big.bin", 250, 100));
  EXPECT_EQ(map.bytes(), big_.substr(250, 100));
  EXPECT_EQ(hub_.file_bytes_sent(), 410);
}

TEST_F(HubDirectoryTest, ACheckpointReadsHeadersAndThenTheTensorsThatAreWanted) {
  const SafetensorsLayout layout = LayOutSafetensors(
      {{"layers.0.w", DType::kF32, {64, 64}, 0, 0}, {"layers.1.w", DType::kF32, {64, 64}, 0, 0}}, {});
  std::string file = layout.header + Pattern(size_t{2} * 64 * 64 * 4);
  hub_.AddFile(kWeights, file, /*large=*/true);
  ASSERT_OK_AND_ASSIGN(std::shared_ptr<ModelDirectory> directory, Open());
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(directory));
  const int64_t opened = hub_.file_bytes_sent();
  EXPECT_LE(opened, static_cast<int64_t>(layout.header.size()) + 8 + 100);
  ASSERT_OK(checkpoint->Prefetch({"layers.1.w", "absent"}));
  ASSERT_OK_AND_ASSIGN(const MappedFile tensor, checkpoint->Read("layers.1.w"));
  EXPECT_EQ(tensor.bytes(), absl::string_view(file).substr(file.size() - size_t{64} * 64 * 4));
  EXPECT_EQ(hub_.file_bytes_sent() - opened, 64 * 64 * 4);
}

TEST_F(HubDirectoryTest, TheTokenStaysWithTheHub) {
  hub_.RequireToken();
  EXPECT_THAT(ReadBig(), IsOkAndHolds(big_));
  int cdn = 0;
  for (const FakeHub::Request& request : hub_.requests()) {
    cdn += request.host == "cdn" ? 1 : 0;
    EXPECT_EQ(request.authorization, request.host == "hub" ? "Bearer hf_secret" : "") << request.path;
  }
  EXPECT_EQ(cdn, 1);
}

TEST_F(HubDirectoryTest, WithoutATokenNoneIsSent) {
  ::unsetenv("QUANTMOE_TEST_TOKEN");
  EXPECT_THAT(ReadBig(), IsOkAndHolds(big_));
  for (const FakeHub::Request& request : hub_.requests()) EXPECT_EQ(request.authorization, "");
}

TEST_F(HubDirectoryTest, DenialsNameTheSecretAndNotItsValue) {
  hub_.Fail("/revision/", {.status = 401});
  EXPECT_THAT(Open(), AllOf(StatusIs(absl::StatusCode::kPermissionDenied,
                                     AllOf(HasSubstr("401"), HasSubstr("env:QUANTMOE_TEST_TOKEN"),
                                           Not(HasSubstr(FakeHub::kToken)))),
                            HasReason("SOURCE_ACCESS_DENIED")));
  hub_.Fail("/resolve/", {.status = 403, .headers = {{"X-Error-Message", "Access to model is restricted"}}});
  EXPECT_THAT(ReadConfig(), AllOf(StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("is restricted")),
                                  HasReason("SOURCE_ACCESS_DENIED")));
  ::unsetenv("QUANTMOE_TEST_TOKEN");
  hub_.RequireToken();
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("no token is set")));
  EXPECT_THAT(waits_, ElementsAre());
}

TEST_F(HubDirectoryTest, WhatIsNotThereIsNotFound) {
  EXPECT_THAT(Open("v2"),
              AllOf(StatusIs(absl::StatusCode::kNotFound, HasSubstr("v2")), HasReason("MODEL_NOT_FOUND")));
  EXPECT_THAT(OpenModelDirectory({ModelUri::Scheme::kHub, "owner/other", "main"}, options_),
              HasReason("MODEL_NOT_FOUND"));
  hub_.Fail("/resolve/", {.status = 404});
  EXPECT_THAT(ReadConfig(), AllOf(StatusIs(absl::StatusCode::kNotFound, HasSubstr("config.json")),
                                  HasReason("MODEL_FILE_NOT_FOUND")));
  EXPECT_THAT(waits_, ElementsAre());
}

TEST_F(HubDirectoryTest, ARefusedRangeIsToldAsSuch) {
  hub_.Fail("cdn/", {.status = 416});
  EXPECT_THAT(Read("big.bin", 1, 5), HasReason("HUB_RANGE_REFUSED"));
}

TEST_F(HubDirectoryTest, WaitsAsLongAsARateLimitAsks) {
  hub_.Fail("/resolve/", {.status = 429, .headers = {{"Retry-After", "7"}}});
  hub_.Fail("/resolve/", {.status = 503, .headers = {{"Retry-After", "Tue, 14 Nov 2023 22:13:33 GMT"}}});
  EXPECT_OK(ReadConfig());
  EXPECT_THAT(waits_, ElementsAre(absl::Seconds(7), absl::Seconds(13)));
}

TEST_F(HubDirectoryTest, ALongWaitIsTheCallersBusiness) {
  hub_.Fail("/revision/", {.status = 429, .headers = {{"Retry-After", "3600"}}});
  EXPECT_THAT(Open(), AllOf(StatusIs(absl::StatusCode::kUnavailable, HasSubstr("3600")),
                            HasReason("HUB_RATE_LIMITED")));
  EXPECT_THAT(waits_, ElementsAre());
}

TEST_F(HubDirectoryTest, TriesAgainAFewTimesAndNotForEver) {
  for (int i = 0; i < 4; ++i) hub_.Fail("/revision/", {.status = 500});
  EXPECT_OK(Open());
  EXPECT_EQ(waits_.size(), 4u);
  EXPECT_THAT(waits_, Each(testing::Le(absl::Seconds(5))));
  for (int i = 0; i < 5; ++i) hub_.Fail("/revision/", {.status = 500});
  EXPECT_THAT(Open(), AllOf(StatusIs(absl::StatusCode::kUnavailable, HasSubstr("500")),
                            HasReason("HUB_UNAVAILABLE")));
  EXPECT_EQ(waits_.size(), 8u);
}

TEST_F(HubDirectoryTest, AHubThatIsNotThereIsUnavailable) {
  options_.endpoint = "http://127.0.0.1:1";
  EXPECT_THAT(Open(), HasReason("HUB_UNAVAILABLE"));
  EXPECT_EQ(waits_.size(), 4u);
}

TEST_F(HubDirectoryTest, ABrokenRangeGoesOnWhereItBroke) {
  hub_.Fail("cdn/", {.break_after = 70'000});
  EXPECT_THAT(Read("big.bin", 1000, 200'000), IsOkAndHolds(big_.substr(1000, 200'000)));
  EXPECT_EQ(hub_.file_bytes_sent(), 200'000);
  const FakeHub::Request last = hub_.requests().back();
  EXPECT_EQ(last.range, "bytes=71000-200999");
  EXPECT_EQ(last.if_range, absl::StrCat("\"cdn-", DigestOf(big_).sha256, "\""));
}

TEST_F(HubDirectoryTest, ABrokenWholeFileGoesOnEvenInAnotherProcess) {
  options_.attempts = 1;
  hub_.Fail("cdn/", {.break_after = 70'000});
  EXPECT_THAT(ReadBig(), HasReason("HUB_UNAVAILABLE"));
  EXPECT_THAT(ReadBig(), IsOkAndHolds(big_));
  EXPECT_EQ(hub_.file_bytes_sent(), 300'000);
  EXPECT_EQ(hub_.requests().back().range, "bytes=70000-299999");
}

TEST_F(HubDirectoryTest, AShortBodyIsCompletedOrReported) {
  hub_.Fail("cdn/", {.short_by = 1000});
  EXPECT_THAT(Read("big.bin", 0, 5000), IsOkAndHolds(big_.substr(0, 5000)));
  options_.attempts = 1;
  hub_.Fail("cdn/", {.short_by = 1000});
  EXPECT_THAT(Read("big.bin", 10'000, 5000),
              AllOf(StatusIs(absl::StatusCode::kUnavailable, HasSubstr("4000 of 5000")),
                    HasReason("HUB_UNAVAILABLE")));
  EXPECT_THAT(Read("big.bin", 10'000, 5000), IsOkAndHolds(big_.substr(10'000, 5000)));
}

TEST_F(HubDirectoryTest, AnotherCopyInBetweenIsNotMixedIn) {
  hub_.Fail("cdn/", {.break_after = 70'000});
  hub_.Fail("cdn/", {.ignore_range = true});
  EXPECT_THAT(Read("big.bin", 1000, 200'000), IsOkAndHolds(big_.substr(1000, 200'000)));
  hub_.Fail("cdn/", {.break_after = 70'000});
  hub_.Fail("cdn/", {.ignore_range = true});
  EXPECT_THAT(ReadBig(), IsOkAndHolds(big_));
}

TEST_F(HubDirectoryTest, AWrongDigestIsFetchedOnceMoreAndThenReported) {
  for (const char* name : {"big.bin", "config.json"}) {
    auto directory = Open();
    ASSERT_OK(directory);
    for (int i = 0; i < 2; ++i)
      hub_.Fail(absl::StrCat(name[0] == 'b' ? "cdn/" : "/resolve/"), {.corrupt = true});
    EXPECT_THAT((*directory)->ReadAll(name), AllOf(StatusIs(absl::StatusCode::kDataLoss, HasSubstr(name)),
                                                   HasReason("HUB_DIGEST_MISMATCH")));
    hub_.Fail(absl::StrCat(name[0] == 'b' ? "cdn/" : "/resolve/"), {.corrupt = true});
    EXPECT_OK((*directory)->ReadAll(name));
  }
  EXPECT_THAT(ReadBig(), IsOkAndHolds(big_));
}

TEST_F(HubDirectoryTest, AnotherContentThanListedIsRefused) {
  hub_.Fail("/resolve/", {.headers = {{"X-Linked-Etag", "\"" + std::string(64, 'a') + "\""}}});
  EXPECT_THAT(Read("big.bin", 1, 5), HasReason("MODEL_CHANGED"));
  hub_.Fail("/resolve/", {.headers = {{"X-Repo-Commit", std::string(40, 'a')}}});
  EXPECT_THAT(ReadConfig(), HasReason("MODEL_CHANGED"));
}

TEST_F(HubDirectoryTest, AServerWithoutRangesIsRefusedInsteadOfRead) {
  hub_.Fail("cdn/", {.ignore_range = true});
  EXPECT_THAT(Read("big.bin", 1, 5), HasReason("HUB_PROTOCOL"));
}

TEST_F(HubDirectoryTest, FollowsRedirectsWithinReason) {
  hub_.Fail("/resolve/", {.redirect_to = absl::StrCat("/", FakeHub::kRepo, "/resolve/", FakeHub::kCommit,
                                                      "/config.json?renamed")});
  EXPECT_OK(ReadConfig());
  EXPECT_EQ(hub_.requests().back().authorization, "Bearer hf_secret");
  for (const char* bad : {"http://hub.example/x", "ftp://127.0.0.1/x", "file:///etc/passwd"}) {
    hub_.Fail("/revision/", {.redirect_to = bad});
    EXPECT_THAT(Open(), HasReason("HUB_REDIRECT")) << bad;
  }
  for (int i = 0; i < 6; ++i)
    hub_.Fail("/revision/", {.redirect_to = "/api/models/owner/model/revision/main"});
  EXPECT_THAT(Open(), HasReason("HUB_REDIRECT"));
}

TEST(CoalesceRangesTest, JoinsWithinTheGapAndTheLimit) {
  const auto joined = [](std::vector<ByteRange> ranges, int64_t gap, int64_t most) {
    std::string text;
    for (const ByteRange& range : CoalesceRanges(std::move(ranges), gap, most))
      absl::StrAppend(&text, range.offset, "+", range.length, " ");
    return text;
  };
  EXPECT_EQ(joined({{10, 5}, {0, 10}}, 0, 100), "0+15 ");
  EXPECT_EQ(joined({{0, 10}, {11, 5}}, 0, 100), "0+10 11+5 ");
  EXPECT_EQ(joined({{0, 10}, {11, 5}}, 1, 100), "0+16 ");
  EXPECT_EQ(joined({{0, 10}, {10, 10}, {20, 10}}, 0, 20), "0+20 20+10 ");
  EXPECT_EQ(joined({{0, 50}, {10, 5}, {20, 60}}, 0, 60), "0+50 20+60 ");
  EXPECT_EQ(joined({}, 0, 1), "");
}

}  // namespace
}  // namespace quantmoe
