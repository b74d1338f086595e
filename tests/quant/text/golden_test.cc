// Every tokenizer of testdata/tokenizers gives the ids and the text of the reference implementation, for each
// line of the corpus (20 scripts, emoji, control characters, numbers, code, long runs, special tokens).
#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "quant/text/tokenizer.h"

namespace quantmoe {
namespace {

const std::string kFolder = QUANTMOE_TESTDATA "/tokenizers/";

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class GoldenTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = GetParam();
    const bool tiny = name == "tiny-qwen2-moe";
    const std::string files = tiny ? QUANTMOE_TESTDATA "/tiny-qwen2-moe" : kFolder + name;
    auto tokenizer =
        Tokenizer::FromFiles(ReadFile(files + "/tokenizer.json"), ReadFile(files + "/tokenizer_config.json"));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
    tokenizer_ = *std::move(tokenizer);
    corpus_ = nlohmann::json::parse(ReadFile(kFolder + "corpus.json")).get<std::vector<std::string>>();
    expected_ = nlohmann::json::parse(ReadFile(kFolder + name + "/expected.json"));
    ASSERT_GT(corpus_.size(), 100u);
    ASSERT_EQ(corpus_.size(), expected_.size());
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::string> corpus_;
  nlohmann::json expected_;
};

TEST_P(GoldenTest, EncodesAsTheReference) {
  for (size_t i = 0; i < corpus_.size(); ++i) {
    const auto ids = expected_[i].at("ids").get<std::vector<int32_t>>();
    const auto plain = expected_[i].value("plain", ids);
    EXPECT_EQ(tokenizer_->Encode(corpus_[i], /*add_special_tokens=*/true), ids)
        << "line " << i << ": " << corpus_[i];
    EXPECT_EQ(tokenizer_->Encode(corpus_[i], /*add_special_tokens=*/false), plain) << "line " << i;
  }
}

TEST_P(GoldenTest, DecodesAsTheReference) {
  for (size_t i = 0; i < corpus_.size(); ++i) {
    const auto ids = expected_[i].at("ids").get<std::vector<int32_t>>();
    const auto text = expected_[i].at("text").get<std::string>();
    EXPECT_EQ(tokenizer_->Decode(ids, /*skip_special_tokens=*/false), text) << "line " << i;
    EXPECT_EQ(tokenizer_->Decode(ids, /*skip_special_tokens=*/true), expected_[i].value("clean", text))
        << "line " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, GoldenTest,
                         testing::Values("gpt2", "granite", "llama3", "qwen", "gpt_oss", "deepseek_v3",
                                         "deepseek_v1", "olmoe", "llama2", "phi", "mixtral", "metaspace",
                                         "odd_splits", "tiny-qwen2-moe"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace quantmoe
