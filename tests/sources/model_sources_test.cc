#include "sources/model_sources.h"

#include <cstdlib>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<FieldViolation> ViolationsOf(const ModelSources& sources) {
  return GetErrorInfo(CheckModelSources(sources)).violations;
}

TEST(ModelSources, RootsThatGrantNothingAreRefusedAtStart) {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "file", "x");
  EXPECT_OK(CheckModelSources({.roots = {dir.path(), "file://" + dir.path(), "s3://bucket/models",
                                         "gs://bucket", "hf://", "hf://owner", "hf://owner/name"}}));
  for (const std::string& root :
       {std::string("models"), std::string("./models"), std::string(""), dir / "missing", dir / "file",
        std::string("/a/../b"), std::string("s3://"), std::string("hf://a/b/c"), std::string("hf://a/b@main"),
        std::string("https://host")}) {
    const auto violations = ViolationsOf({.roots = {dir.path(), root}});
    ASSERT_EQ(violations.size(), 1u) << root;
    EXPECT_EQ(violations[0].field, "--model-root");
    EXPECT_THAT(violations[0].description, HasSubstr(root));
  }
}

TEST(ModelSources, EndpointsMustProtectTheToken) {
  for (const char* good :
       {"https://hub.example", "https://hub.example/mirror/", "http://127.0.0.1:80", "http://localhost"}) {
    EXPECT_OK(CheckModelSources({.hub = {.endpoint = good}})) << good;
  }
  for (const char* bad : {"", "hub.example", "http://hub.example", "http://127.0.0.1.evil.example",
                          "https://user:password@hub.example", "https://hub.example?x"}) {
    const auto violations = ViolationsOf({.hub = {.endpoint = bad}});
    ASSERT_EQ(violations.size(), 1u) << bad;
    EXPECT_EQ(violations[0].field, "--hub-endpoint");
  }
  EXPECT_OK(CheckModelSources({.hub = {.endpoint = "http://hub.example", .allow_plain_http = true}}));
}

TEST(ModelSources, SecretsAreNamedAndNeverRepeated) {
  const TemporaryDirectory dir;
  WriteTestFile(dir / "token", " hf_secret\n");
  WriteTestFile(dir / "broken", "hf_secret\nX-Header: 1\n");
  ::unsetenv("QUANTMOE_TEST_TOKEN");
  EXPECT_OK(CheckModelSources({.hub = {.token_from = "env:QUANTMOE_TEST_TOKEN"}}));
  EXPECT_OK(CheckModelSources({.hub = {.token_from = "file:" + (dir / "token")}}));
  for (const std::string& bad : {std::string("hf_secret"), "file:" + (dir / "missing"),
                                 "file:" + (dir / "broken"), "file:" + dir.path()}) {
    const auto violations = ViolationsOf({.hub = {.token_from = bad}});
    ASSERT_EQ(violations.size(), 1u) << bad;
    EXPECT_EQ(violations[0].field, "--hub-token-from");
    EXPECT_THAT(violations[0].description, Not(HasSubstr("hf_secret")));
  }
}

TEST(ModelSources, OpenConfines) {
  const TemporaryDirectory dir;
  std::filesystem::create_directories(dir / "root/model");
  EXPECT_OK(OpenModel(dir / "root/model", {.roots = {dir / "root"}}));
  EXPECT_OK(OpenModel(dir / "root/model", {.confined = false}));
  for (const std::string& uri :
       {dir.path(), std::string("s3://bucket/model"), std::string("hf://owner/model")}) {
    EXPECT_THAT(OpenModel(uri, {.roots = {dir / "root"}}), HasReason("SOURCE_NOT_ALLOWED")) << uri;
    EXPECT_THAT(OpenModel(uri, {}), HasReason("SOURCE_NOT_ALLOWED")) << uri;
  }
  EXPECT_THAT(OpenModel("models", {.confined = false}), HasReason("INVALID_FIELD"));
}

}  // namespace
}  // namespace quantmoe
