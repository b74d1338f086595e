#include "plan/job/inspection.h"

#include <nlohmann/json.hpp>

#include "sources/model_sources.h"
#include "tests/support/fake_hub.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

absl::StatusOr<std::string> Inspect(const std::string& uri, const ModelSources& models) {
  absl::StatusOr<std::unique_ptr<ModelDirectory>> directory = OpenModel(uri, models);
  if (!directory.ok()) return directory.status();
  return InspectModel(*std::move(directory));
}

TEST(Inspection, ReadsHeadersOnlyAndSaysTheSameWhereverTheModelIs) {
  const std::string model = std::string(QUANTMOE_TESTDATA) + "/tiny-qwen2-moe";
  const TemporaryDirectory cache;
  FakeHub hub;
  hub.AddDirectory(model);
  const ModelSources models{
      .roots = {"hf://owner", QUANTMOE_TESTDATA},
      .hub = {.endpoint = hub.endpoint(), .token_from = "env:QUANTMOE_NO_TOKEN", .cache_dir = cache.path()}};
  ASSERT_OK_AND_ASSIGN(const std::string remote, Inspect("hf://owner/model", models));
  ASSERT_OK_AND_ASSIGN(const std::string local, Inspect(model, models));
  EXPECT_EQ(remote, local);

  const nlohmann::json json = nlohmann::json::parse(local);
  EXPECT_EQ(json["model_type"], "qwen2_moe");
  EXPECT_TRUE(json["problems"].empty()) << json["problems"];
  int64_t accounted = 0;
  for (const char* group : {"quantized", "kept"}) {
    for (const auto& [name, sum] : json[group].items()) accounted += sum["bytes"].get<int64_t>();
  }
  EXPECT_EQ(accounted, json["bytes"].get<int64_t>());
  int64_t tokenizer = 0;
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
    tokenizer += static_cast<int64_t>(std::filesystem::file_size(model + "/" + file));
  }
  EXPECT_LT(hub.file_bytes_sent() - tokenizer, accounted / 50);
}

TEST(Inspection, AccountsForEveryByteOfEveryFamily) {
  for (const auto& golden :
       std::filesystem::directory_iterator(std::string(QUANTMOE_TESTDATA) + "/goldens")) {
    if (!golden.is_directory()) continue;
    ASSERT_OK_AND_ASSIGN(const std::string text, Inspect(golden.path(), {.confined = false}));
    const nlohmann::json json = nlohmann::json::parse(text);
    int64_t accounted = 0;
    for (const char* group : {"quantized", "kept"}) {
      for (const auto& [name, sum] : json[group].items()) accounted += sum["bytes"].get<int64_t>();
    }
    EXPECT_EQ(accounted, json["bytes"].get<int64_t>()) << golden.path();
    EXPECT_FALSE(json["kept"].contains("not part of a quantized linear")) << golden.path();
  }
}

}  // namespace
}  // namespace quantmoe
