// Every tokenizer of testdata/tokenizers gives the ids and the text of the reference implementation, for each
// line of the corpus (20 scripts, emoji, lone marks, control characters, numbers, code, special tokens) and
// for runs of 10,000 characters.
#include <algorithm>
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/temporary_directory.h"
#include "text/tokenizer.h"

namespace quantmoe {
namespace {

const std::string kFolder = QUANTMOE_TESTDATA "/tokenizers/";

// FNV-1a over the ids, as make_tokenizers.py takes it.
std::string Fingerprint(const std::vector<int32_t>& ids) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const int32_t id : ids) hash = (hash ^ static_cast<uint64_t>(id)) * 0x100000001b3;
  std::ostringstream text;
  text << std::hex << std::setw(16) << std::setfill('0') << hash;
  return text.str();
}

class GoldenTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = GetParam();
    const bool tiny = name == "tiny-qwen2-moe";
    const std::string files = tiny ? QUANTMOE_TESTDATA "/tiny-qwen2-moe" : kFolder + name;
    const std::string config = ReadTestFile(files + "/tokenizer_config.json");
    const std::string tiktoken = ReadTestFile(files + "/tiktoken.model");
    auto tokenizer = tiktoken.empty() ? Tokenizer::FromFiles(ReadTestFile(files + "/tokenizer.json"), config)
                                      : Tokenizer::FromTiktoken(tiktoken, config);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
    tokenizer_ = *std::move(tokenizer);
    corpus_ = nlohmann::json::parse(ReadTestFile(kFolder + "corpus.json")).get<std::vector<std::string>>();
    expected_ = nlohmann::json::parse(ReadTestFile(kFolder + name + "/expected.json"));
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
    EXPECT_EQ(*tokenizer_->Encode(corpus_[i], /*add_special_tokens=*/true), ids)
        << "line " << i << ": " << corpus_[i];
    EXPECT_EQ(*tokenizer_->Encode(corpus_[i], /*add_special_tokens=*/false), plain) << "line " << i;
  }
}

TEST_P(GoldenTest, DecodesAsTheReference) {
  for (size_t i = 0; i < corpus_.size(); ++i) {
    const auto ids = expected_[i].at("ids").get<std::vector<int32_t>>();
    const auto text = expected_[i].at("text").get<std::string>();
    EXPECT_EQ(*tokenizer_->Decode(ids, /*skip_special_tokens=*/false), text) << "line " << i;
    EXPECT_EQ(*tokenizer_->Decode(ids, /*skip_special_tokens=*/true), expected_[i].value("clean", text))
        << "line " << i;
  }
}

TEST_P(GoldenTest, EncodesLongRunsAsTheReference) {
  const auto runs = nlohmann::json::parse(ReadTestFile(kFolder + "long_runs.json"));
  const auto expected = nlohmann::json::parse(ReadTestFile(kFolder + GetParam() + "/long_runs.json"));
  ASSERT_GT(runs.size(), 10u);
  ASSERT_EQ(runs.size(), expected.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    std::string text;
    for (int n = runs[i][1].get<int>(); n > 0; --n) text += runs[i][0].get<std::string>();
    const auto ids = *tokenizer_->Encode(text, /*add_special_tokens=*/false);
    EXPECT_EQ(ids.size(), expected[i][0].get<size_t>()) << runs[i];
    EXPECT_EQ(Fingerprint(ids), expected[i][1].get<std::string>()) << runs[i];
  }
}

// What make_tiktoken.py says of texts that the code of the family cuts before it looks for words.
TEST(TiktokenGoldenTest, CutsLongTextsAsTheReference) {
  const auto tokenizer = Tokenizer::FromTiktoken(ReadTestFile(kFolder + "moonshot/tiktoken.model"),
                                                 ReadTestFile(kFolder + "moonshot/tokenizer_config.json"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto repeat = [](const std::string& text, size_t times) {
    std::string all;
    while (times-- > 0) all += text;
    return all;
  };
  const auto corpus = nlohmann::json::parse(ReadTestFile(kFolder + "corpus.json"));
  const std::string prose = corpus[0].get<std::string>() + "\n";
  const std::vector<std::string> texts = {repeat("ab9人", 15000), repeat(" \n", 35000),
                                          repeat(prose, 900000 / prose.size()),
                                          repeat("x ", 199999) + repeat("yesterday", 3)};
  const auto expected = nlohmann::json::parse(ReadTestFile(kFolder + "moonshot/cut.json"));
  ASSERT_EQ(expected.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = *(*tokenizer)->Encode(texts[i], /*add_special_tokens=*/false);
    EXPECT_EQ(ids.size(), expected[i][0].get<size_t>()) << i;
    EXPECT_EQ(Fingerprint(ids), expected[i][1].get<std::string>()) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, GoldenTest,
                         testing::Values("gpt2", "granite", "llama3", "qwen", "gpt_oss", "deepseek_v3",
                                         "deepseek_v1", "olmoe", "llama2", "phi", "mixtral", "metaspace",
                                         "odd_splits", "kimi_k2", "moonshot", "cl100k", "bert_words", "words",
                                         "chunks", "tiny-qwen2-moe"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace quantmoe
