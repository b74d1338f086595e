#include "sources/checkpoint.h"

#include <ctime>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "sources/model_sources.h"
#include "storage/digest.h"
#include "tests/storage/test_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr char kIndex[] = "model.safetensors.index.json";

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenAt(const std::string& path) {
  auto directory = OpenModelDirectory({ModelUri::Scheme::kFile, path});
  if (!directory.ok()) return directory.status();
  return Checkpoint::Open(*std::move(directory));
}

std::string Golden(const std::string& name) { return absl::StrCat(QUANTMOE_TESTDATA "/goldens/", name); }

TEST(Checkpoint, ShardedEqualsSingleTensorByTensor) {
  ASSERT_OK_AND_ASSIGN(const auto single, OpenAt(Golden("mixtral")));
  ASSERT_OK_AND_ASSIGN(const auto sharded, OpenAt(Golden("mixtral-sharded")));
  ASSERT_EQ(single->tensors().size(), sharded->tensors().size());
  EXPECT_GT(single->tensors().size(), 90u);
  EXPECT_EQ(single->total_bytes(), sharded->total_bytes());
  for (const auto& [name, location] : single->tensors()) {
    ASSERT_NE(sharded->Find(name), nullptr) << name;
    EXPECT_EQ(sharded->Find(name)->info.shape, location.info.shape);
    ASSERT_OK_AND_ASSIGN(const MappedFile a, single->Read(name));
    ASSERT_OK_AND_ASSIGN(const MappedFile b, sharded->Read(name));
    EXPECT_EQ(a.bytes(), b.bytes()) << name;
  }
}

// The index says how many bytes all tensors have, computed by another program.
TEST(Checkpoint, TotalBytesIsWhatTheIndexSays) {
  ASSERT_OK_AND_ASSIGN(const auto sharded, OpenAt(Golden("mixtral-sharded")));
  const auto index = nlohmann::json::parse(ReadTestFile(Golden("mixtral-sharded/") + kIndex));
  EXPECT_EQ(sharded->total_bytes(), index["metadata"]["total_size"].get<int64_t>());
}

TEST(Checkpoint, NamesTheTensorThatIsMissing) {
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, OpenAt(Golden("mixtral")));
  EXPECT_EQ(checkpoint->Find("nope"), nullptr);
  EXPECT_THAT(checkpoint->Read("nope"),
              AllOf(StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tensor nope is missing")),
                    HasReason("MODEL_INVALID")));
}

TEST(Checkpoint, ADirectoryWithoutWeightsIsNotFound) {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "config.json", "{}");
  EXPECT_THAT(OpenAt(dir.path()), AllOf(StatusIs(absl::StatusCode::kNotFound), HasReason("MODEL_NOT_FOUND")));
}

TEST(Checkpoint, DamagedWeightsAreNamed) {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "model.safetensors", SmallSafetensors({"a"}).substr(0, 20));
  EXPECT_THAT(OpenAt(dir.path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model.safetensors: truncated")));
  WriteTestFile(dir / "model.safetensors", "");
  EXPECT_THAT(OpenAt(dir.path()), HasReason("MODEL_INVALID"));
}

TEST(Checkpoint, IndexesThatLieAreRefused) {
  const struct {
    std::string index;
    const char* message;
  } cases[] = {
      {"not json", "is not valid JSON"},
      {std::string(200000, '['), "deeper nesting than 100"},
      {"[]", "has no weight_map"},
      {R"({"weight_map":[]})", "has no weight_map"},
      {R"({"weight_map":{}})", "names no tensors"},
      {R"({"weight_map":{"a":1}})", "tensor a names no file"},
      {R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})",
       "names s2.safetensors, which is missing"},
      {R"({"weight_map":{"a":"s1.safetensors","b":"s1.safetensors"}})",
       "tensor b is missing from s1.safetensors"},
      {R"({"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}})", "tensor a occurs twice"},
      {R"({"weight_map":{"a":"../model/s1.safetensors"}})",
       "tensor a is in \"../model/s1.safetensors\", which is no file"},
      {R"({"weight_map":{"a":"x/../../s1.safetensors"}})", "which is no file of the model"},
      {R"({"weight_map":{"a":"/etc/hostname"}})", "which is no file of the model"},
      {R"({"weight_map":{"a":"./"}})", "which is no file of the model"},
      {R"({"weight_map":{"a":"x/s9.safetensors"}})", "names x/s9.safetensors, which is missing"},
      {R"({"weight_map":{"a":"folder"}})", "names folder, which is missing"},
  };
  const TemporaryDirectory dir;
  std::filesystem::create_directory(dir / "folder");
  WriteTestFile(dir / "s1.safetensors", SmallSafetensors({"a", "extra"}));
  for (const auto& item : cases) {
    WriteTestFile(dir / kIndex, item.index);
    EXPECT_THAT(OpenAt(dir.path()),
                AllOf(StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(item.message)),
                      HasReason("MODEL_INVALID")))
        << item.index;
  }
}

TEST(Checkpoint, ShardsMayLieInFoldersHoweverTheirPathsAreWritten) {
  const TemporaryDirectory dir;
  std::filesystem::create_directories(dir / "x/y");
  WriteTestFile(dir / "s1.safetensors", SmallSafetensors({"a"}));
  WriteTestFile(dir / "x/y/s2.safetensors", SmallSafetensors({"b", "c"}, 2));
  WriteTestFile(
      dir / kIndex,
      R"({"weight_map":{"a":"./s1.safetensors","b":"x/y/s2.safetensors","c":"x//y/./s2.safetensors"}})");
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, OpenAt(dir.path()));
  EXPECT_EQ(checkpoint->tensors().size(), 3u);
  ASSERT_OK_AND_ASSIGN(const MappedFile bytes, checkpoint->Read("c"));
  EXPECT_EQ(bytes.bytes(), std::string(4, 2));
  EXPECT_EQ(checkpoint->listing_file(), kIndex);
}

TEST(Checkpoint, TensorsThatTheIndexDoesNotNameAreNotPartOfTheModel) {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "s1.safetensors", SmallSafetensors({"a", "extra"}));
  WriteTestFile(dir / kIndex, R"({"weight_map":{"a":"s1.safetensors"}})");
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, OpenAt(dir.path()));
  EXPECT_NE(checkpoint->Find("a"), nullptr);
  EXPECT_EQ(checkpoint->Find("extra"), nullptr);
  EXPECT_EQ(checkpoint->total_bytes(), 4);
}

TEST(Checkpoint, FingerprintFollowsVersionsAndHeaderDigestDoesNot) {
  const TemporaryDirectory dir;
  const auto open = [&] {
    auto opened = OpenAt(dir.path());
    EXPECT_OK(opened);
    return std::pair((*opened)->fingerprint(), (*opened)->header_digest());
  };
  WriteTestFile(dir / "config.json", "{}");
  WriteTestFile(dir / "model.safetensors", SmallSafetensors({"a"}));
  const auto first = open();
  EXPECT_TRUE(IsSha256(first.first));
  EXPECT_EQ(open(), first);
  const std::filesystem::path weights = dir / "model.safetensors";
  std::filesystem::last_write_time(weights,
                                   std::filesystem::last_write_time(weights) + std::chrono::seconds(5));
  const auto touched = open();
  EXPECT_NE(touched.first, first.first);
  EXPECT_EQ(touched.second, first.second);
  WriteTestFile(dir / "config.json", "{ }");
  EXPECT_NE(open().second, first.second);
  WriteTestFile(dir / "config.json", "{}");
  WriteTestFile(dir / "model.safetensors", SmallSafetensors({"b"}));
  EXPECT_NE(open().second, first.second);
}

TEST(Checkpoint, OpensSixtyThousandTensorsFast) {
  const TemporaryDirectory dir;
  nlohmann::json weight_map;
  for (int shard = 0; shard < 8; ++shard) {
    std::vector<std::string> names;
    const std::string file = absl::StrCat("s", shard, ".safetensors");
    for (int i = 0; i < 7500; ++i) {
      names.push_back(absl::StrCat("model.layers.", shard, ".mlp.experts.", i, ".gate_proj.weight"));
      weight_map[names.back()] = file;
    }
    WriteTestFile(dir / file, SmallSafetensors(names));
  }
  WriteTestFile(dir / kIndex, nlohmann::json{{"weight_map", weight_map}}.dump());
  const std::clock_t start = std::clock();
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, OpenAt(dir.path()));
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  RecordProperty("milliseconds", static_cast<int>(1000 * seconds));
  EXPECT_EQ(checkpoint->tensors().size(), 60000u);
  // About 0.2 s of this process; the bound leaves room for sanitizers, not for a quadratic algorithm.
  EXPECT_LT(seconds, 5);
}

}  // namespace
}  // namespace quantmoe
