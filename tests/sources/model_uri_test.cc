#include "sources/model_uri.h"

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Scheme = ModelUri::Scheme;

TEST(ModelUri, AcceptedForms) {
  const struct {
    const char* text;
    Scheme scheme;
    const char* path;
    const char* canonical;
  } cases[] = {
      {"/models/a", Scheme::kFile, "/models/a", "file:///models/a"},
      {"file:///models/a", Scheme::kFile, "/models/a", "file:///models/a"},
      {"/models//./a/", Scheme::kFile, "/models/a", "file:///models/a"},
      {"/models/a b..c@1:2", Scheme::kFile, "/models/a b..c@1:2", "file:///models/a b..c@1:2"},
      {"s3://bucket/a/b", Scheme::kS3, "bucket/a/b", "s3://bucket/a/b"},
      {"s3://bucket/a/", Scheme::kS3, "bucket/a", "s3://bucket/a"},
      {"gs://my-bucket.1", Scheme::kGcs, "my-bucket.1", "gs://my-bucket.1"},
      {"hf://Owner/name-1.5_x", Scheme::kHub, "Owner/name-1.5_x", "hf://Owner/name-1.5_x@main"},
      {"hf://owner/name@refs/pr/1", Scheme::kHub, "owner/name", "hf://owner/name@refs/pr/1"},
  };
  for (const auto& item : cases) {
    SCOPED_TRACE(item.text);
    ASSERT_OK_AND_ASSIGN(const ModelUri uri, ParseModelUri(item.text));
    EXPECT_EQ(uri.scheme, item.scheme);
    EXPECT_EQ(uri.path, item.path);
    EXPECT_EQ(uri.ToString(), item.canonical);
    ASSERT_OK_AND_ASSIGN(const ModelUri again, ParseModelUri(uri.ToString()));
    EXPECT_EQ(again.path, uri.path);
  }
}

TEST(ModelUri, RefusedForms) {
  for (const std::string text : {"",
                                 "models/a",
                                 "./a",
                                 "../a",
                                 "~/a",
                                 "/models/../etc",
                                 "/..",
                                 "file:///a/..",
                                 "/a/%2e%2e/b",
                                 "/a%00",
                                 "/a?b",
                                 "/a#b",
                                 "/a\\b",
                                 "s3:\\\\b\\a",
                                 "file://host/a",
                                 "file:/a",
                                 "file:a",
                                 "FILE:///a",
                                 "http://host/a",
                                 "https://host/a",
                                 "s3://",
                                 "s3:///a",
                                 "s3://user:password@bucket/a",
                                 "s3://user@bucket/a",
                                 "s3://bucket:80/a",
                                 "s3://bucket/../other",
                                 "s3://Bucket/a",
                                 "s3://b/a",
                                 "s3://bucket/a?endpoint_override=evil",
                                 "s3://bucket/%2e",
                                 "gs://bucket/..",
                                 "s3://-bucket/a",
                                 "hf://",
                                 "hf://model",
                                 "hf://org/model/file",
                                 "hf://org/../model",
                                 "hf://org/model@",
                                 "hf://org/model@a..b",
                                 "hf://org/model@/a",
                                 "hf://org/model@a@b",
                                 "hf://user:token@org/model",
                                 "hf://org/mod el",
                                 "hf://.org/model",
                                 "hf://org/%2e%2e",
                                 " /a",
                                 "/a\nb",
                                 "/a\tb",
                                 "/a\x7f"}) {
    const auto parsed = ParseModelUri(text);
    EXPECT_THAT(parsed, AllOf(StatusIs(absl::StatusCode::kInvalidArgument), HasReason("INVALID_FIELD")))
        << text;
    const ErrorInfo info = GetErrorInfo(parsed.status());
    ASSERT_EQ(info.violations.size(), 1u);
    EXPECT_EQ(info.violations[0].field, "spec.model.uri");
  }
  EXPECT_THAT(ParseModelUri(std::string("/a\0b", 4)), HasReason("INVALID_FIELD"));
  EXPECT_THAT(ParseModelUri("/" + std::string(5000, 'a')), HasReason("INVALID_FIELD"));
}

class Confinement : public testing::Test {
 protected:
  Confinement() {
    for (const char* dir : {"root/model", "root-2/model", "outside/secret"}) {
      std::filesystem::create_directories(dir_ / dir);
    }
    std::filesystem::create_directory_symlink(dir_ / "root", dir_ / "alias");
    std::filesystem::create_directory_symlink(dir_ / "outside/secret", dir_ / "root/escape");
    std::filesystem::create_directory_symlink(dir_ / "root/model", dir_ / "root/inside");
    std::filesystem::create_directory_symlink(dir_ / "nowhere", dir_ / "root/dangling");
  }

  absl::StatusOr<ModelUri> Confine(const std::string& path) {
    return ConfineModelUri({Scheme::kFile, dir_ / path}, {"s3://other", dir_ / "missing", dir_ / "root"});
  }

  const TemporaryDirectory dir_;
};

TEST_F(Confinement, AllowsWhatResolvesBelowARoot) {
  for (const char* path : {"root/model", "root/inside", "alias/model"}) {
    ASSERT_OK_AND_ASSIGN(const ModelUri uri, Confine(path));
    EXPECT_EQ(uri.path, dir_ / "root/model");
  }
  EXPECT_OK(Confine("root"));
  EXPECT_OK(ConfineModelUri({Scheme::kFile, dir_ / "root/model"}, {dir_ / "alias"}));
  EXPECT_OK(ConfineModelUri({Scheme::kFile, dir_ / "root/model"}, {"file://" + (dir_ / "root")}));
  EXPECT_OK(ConfineModelUri({Scheme::kFile, dir_ / "root/model"}, {"/"}));
}

TEST_F(Confinement, RefusesLinksOutOfTheRootWithoutNamingTheTarget) {
  EXPECT_THAT(Confine("root/escape"),
              AllOf(StatusIs(absl::StatusCode::kPermissionDenied, Not(HasSubstr("secret"))),
                    HasReason("SOURCE_NOT_ALLOWED")));
}

TEST_F(Confinement, ANameThatStartsLikeTheRootIsOutside) {
  EXPECT_THAT(Confine("root-2/model"), HasReason("SOURCE_NOT_ALLOWED"));
}

TEST_F(Confinement, TellsNothingAboutWhatExistsOutside) {
  EXPECT_THAT(Confine("outside/secret"), HasReason("SOURCE_NOT_ALLOWED"));
  EXPECT_THAT(Confine("outside/missing"), HasReason("SOURCE_NOT_ALLOWED"));
  EXPECT_THAT(Confine("root/escape/missing"), HasReason("SOURCE_NOT_ALLOWED"));
  EXPECT_THAT(Confine("root/missing/deep"),
              AllOf(StatusIs(absl::StatusCode::kNotFound), HasReason("MODEL_NOT_FOUND")));
  EXPECT_THAT(Confine("root/dangling"), HasReason("MODEL_NOT_FOUND"));
}

TEST_F(Confinement, RefusesAModelWithAFileThatLinksOut) {
  WriteTestFile(dir_ / "outside/file", "secret");
  WriteTestFile(dir_ / "root/shared/file", "public");
  std::filesystem::create_symlink(dir_ / "root/shared/file", dir_ / "root/model/config.json");
  EXPECT_OK(Confine("root/model"));
  std::filesystem::create_symlink(dir_ / "outside/file", dir_ / "root/model/tokenizer.json");
  EXPECT_THAT(Confine("root/model"),
              AllOf(StatusIs(absl::StatusCode::kPermissionDenied,
                             AllOf(HasSubstr("file tokenizer.json"), Not(HasSubstr("outside/file")))),
                    HasReason("SOURCE_NOT_ALLOWED")));
}

TEST_F(Confinement, NoRootsAllowNothing) {
  EXPECT_THAT(ConfineModelUri({Scheme::kFile, dir_ / "root/model"}, {}), HasReason("SOURCE_NOT_ALLOWED"));
}

TEST(HubConfinement, RootsAreTheHubAnOwnerOrAModel) {
  const ModelUri model{Scheme::kHub, "owner/name", "main"};
  for (const char* root : {"hf://", "hf://owner", "hf://owner/", "hf://owner/name"}) {
    EXPECT_OK(ConfineModelUri(model, {root})) << root;
  }
  for (const char* root :
       {"/", "s3://owner", "hf://own", "hf://owner/nam", "hf://owner/name@main", "hf://other"}) {
    EXPECT_THAT(ConfineModelUri(model, {root}), HasReason("SOURCE_NOT_ALLOWED")) << root;
  }
}

TEST(BucketConfinement, ComparesWholeSegmentsOfTheSameScheme) {
  const std::vector<std::string> roots = {"s3://bucket/models/", "/"};
  EXPECT_OK(ConfineModelUri({Scheme::kS3, "bucket/models/a"}, roots));
  EXPECT_OK(ConfineModelUri({Scheme::kS3, "bucket/models"}, roots));
  for (const char* path : {"bucket/models-2/a", "bucket", "other/models/a"}) {
    EXPECT_THAT(ConfineModelUri({Scheme::kS3, path}, roots), HasReason("SOURCE_NOT_ALLOWED")) << path;
  }
  EXPECT_THAT(ConfineModelUri({Scheme::kGcs, "bucket/models/a"}, roots), HasReason("SOURCE_NOT_ALLOWED"));
}

}  // namespace
}  // namespace quantmoe
