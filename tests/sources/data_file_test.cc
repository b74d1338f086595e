#include "sources/data_file.h"

#include "absl/strings/str_cat.h"

#include "storage/digest.h"
#include "tests/support/fake_hub.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using Fault = FakeHub::Fault;

TEST(ParseDataUri, TakesRevisionAndPathApart) {
  struct Case {
    const char* text;
    const char* repository;
    const char* path;
  };
  for (const Case& c : {
           Case{"hf://datasets/owner/data/a.jsonl", "hf://datasets/owner/data@main", "a.jsonl"},
           Case{"hf://datasets/owner/data/dir/a b.parquet", "hf://datasets/owner/data@main",
                "dir/a b.parquet"},
           Case{"hf://datasets/owner/data@v1.2/dir/a.txt", "hf://datasets/owner/data@v1.2", "dir/a.txt"},
           Case{"hf://datasets/owner/data@refs/convert/parquet/d/0.parquet",
                "hf://datasets/owner/data@refs/convert/parquet", "d/0.parquet"},
           Case{"hf://datasets/owner/data@refs/pr/7/a.txt", "hf://datasets/owner/data@refs/pr/7", "a.txt"},
       }) {
    ASSERT_OK_AND_ASSIGN(const DataUri uri, ParseDataUri(c.text));
    EXPECT_EQ(uri.repository.ToString(), c.repository);
    EXPECT_EQ(uri.path, c.path);
    EXPECT_THAT(ParseDataUri(uri.ToString()).status(), StatusIs(absl::StatusCode::kOk));
  }
  for (const char* bad :
       {"", "hf://owner/model/a.txt", "hf://datasets/owner", "hf://datasets/owner/data",
        "hf://datasets/owner/data/", "hf://datasets/owner/data/../a", "hf://datasets/owner/data@/a",
        "hf://datasets/owner/data@v1", "hf://datasets/owner/data@refs/pr/7", "hf://datasets/owner/data//a",
        "hf://datasets/o w/data/a", "hf://datasets/owner/data/a?b", "hf://datasets/owner/data/a%2e",
        "hf://datasets/owner/data/a\nb", "s3://bucket/a"}) {
    EXPECT_THAT(ParseDataUri(bad), HasReason("INVALID_FIELD")) << bad;
  }
}

class ReadDataFileTest : public testing::Test {
 protected:
  void SetUp() override {
    hub_.AddFile("a.txt", "of the model", /*large=*/false);
    hub_.AddDataFile("a.txt", "small", /*large=*/false);
    hub_.AddDataFile("other.bin", std::string(100'000, 'o'), /*large=*/true);
    hub_.AddDataFile("plain/big.parquet", big_, /*large=*/true);
    hub_.AddDataFile("plain/deeper/b.txt", "b", /*large=*/false);
    sources_.roots = {"hf://datasets/owner"};
    sources_.hub.endpoint = hub_.endpoint();
    sources_.hub.token_from = "env:QUANTMOE_NO_TOKEN";
    sources_.hub.cache_dir = dir_ / "cache";
    sources_.hub.sleep = [](absl::Duration) {};
  }
  absl::StatusOr<std::string> Read(const std::string& rest) {
    auto data = ReadDataFile(absl::StrCat("hf://", FakeHub::kDataset, rest), sources_);
    if (!data.ok()) return data.status();
    EXPECT_EQ(data->uri.repository.revision, FakeHub::kCommit);
    return std::string(data->file.bytes());
  }

  const TemporaryDirectory dir_;
  const std::string big_ = std::string(200'000, 'x') + "end";
  FakeHub hub_;
  ModelSources sources_;
};

TEST_F(ReadDataFileTest, FetchesOneFileOnceAndNothingElse) {
  EXPECT_THAT(Read("/a.txt"), IsOkAndHolds(std::string("small")));
  EXPECT_EQ(hub_.file_bytes_sent(), 5);
  EXPECT_THAT(Read("@v1.beta/plain/big.parquet"), IsOkAndHolds(big_));
  EXPECT_THAT(Read("@refs/convert/parquet/plain/deeper/b.txt"), IsOkAndHolds(std::string("b")));
  EXPECT_THAT(Read("/plain/big.parquet"), IsOkAndHolds(big_));  // of another revision, the same bytes
  EXPECT_EQ(hub_.file_bytes_sent(), 5 + static_cast<int64_t>(big_.size()) + 1);
  EXPECT_EQ(hub_.CountRequests("/api/models/"), 0);
}

TEST_F(ReadDataFileTest, SaysWhatIsNotThere) {
  for (const char* missing : {"/b.txt", "/plain", "/nowhere/a.txt", "@v9/a.txt"}) {
    EXPECT_THAT(Read(missing), HasReason("DATA_NOT_FOUND")) << missing;
  }
}

TEST_F(ReadDataFileTest, FaultsAreTriedAgainOrToldAsWhatTheyAre) {
  hub_.Fail("plain/big.parquet", {.status = 429, .headers = {{"Retry-After", "1"}}});
  hub_.Fail("cdn", {.status = 500});
  hub_.Fail("cdn", {.break_after = 1000});
  EXPECT_THAT(Read("/plain/big.parquet"), IsOkAndHolds(big_));
  hub_.Fail("other.bin", {.status = 401});
  EXPECT_THAT(Read("/other.bin"), HasReason("SOURCE_ACCESS_DENIED"));
  hub_.Fail("cdn", {.corrupt = true});
  hub_.Fail("cdn", {.corrupt = true});
  EXPECT_THAT(Read("/other.bin"), HasReason("HUB_DIGEST_MISMATCH"));
}

TEST_F(ReadDataFileTest, StaysBelowTheRoots) {
  for (const char* root : {"hf://", "hf://datasets", "hf://datasets/owner", "hf://datasets/owner/data"}) {
    sources_.roots = {root};
    EXPECT_OK(Read("/a.txt")) << root;
  }
  for (const char* root : {"hf://owner", "hf://datasets/other", "hf://datasets/owner/dat", "/tmp"}) {
    sources_.roots = {root};
    EXPECT_THAT(Read("/a.txt"), HasReason("SOURCE_NOT_ALLOWED")) << root;
  }
}

}  // namespace
}  // namespace quantmoe
