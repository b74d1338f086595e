#include "quant/text/tokenizer.h"

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"

namespace quantmoe {
namespace {

using nlohmann::json;

json SmallTokenizer() {
  return json::parse(R"({
    "added_tokens": [{"id": 5, "content": "<s>", "special": true}, {"id": 6, "content": "</s>", "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "aba": 3, "ba": 4}, "merges": [["a", "b"], ["ab", "a"]]}})");
}

std::unique_ptr<Tokenizer> Load(const json& file, const std::string& config = "") {
  auto tokenizer = Tokenizer::FromFiles(file.dump(), config);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  return *std::move(tokenizer);
}

using Ids = std::vector<int32_t>;

void ExpectRefused(const json& file, const std::string& reason, const std::string& component,
                   const std::string& config = "") {
  const auto tokenizer = Tokenizer::FromFiles(file.dump(), config);
  ASSERT_FALSE(tokenizer.ok()) << component;
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  const ErrorInfo info = GetErrorInfo(tokenizer.status());
  EXPECT_EQ(info.reason, reason) << tokenizer.status().ToString();
  if (!component.empty()) {
    EXPECT_EQ(info.metadata.at("component"), component);
  }
}

TEST(TokenizerTest, MergesByRankThenFromTheLeft) {
  const auto tokenizer = Load(SmallTokenizer());
  EXPECT_EQ(tokenizer->Encode("ababa", false),
            (Ids{2, 3}));  // "a"+"b" twice first, then the leftmost "ab"+"a" is none
  EXPECT_EQ(tokenizer->Encode("aba", false), (Ids{3}));
  EXPECT_EQ(tokenizer->Encode("bab", false), (Ids{1, 2}));
}

TEST(TokenizerTest, UnknownCharactersVanishWithoutUnknownToken) {
  EXPECT_EQ(Load(SmallTokenizer())->Encode("a?b", false), (Ids{2}));
}

TEST(TokenizerTest, UnknownCharactersFuseWhenAsked) {
  json file = SmallTokenizer();
  file["model"]["unk_token"] = "ba";
  EXPECT_EQ(Load(file)->Encode("a??b", false), (Ids{0, 4, 4, 1}));
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(Load(file)->Encode("a??b", false), (Ids{0, 4, 1}));
}

TEST(TokenizerTest, IgnoreMergesTakesWholeWords) {
  json file = SmallTokenizer();
  EXPECT_EQ(Load(file)->Encode("ba", false), (Ids{1, 0}));
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(Load(file)->Encode("ba", false), (Ids{4}));
}

TEST(TokenizerTest, MergesMayBeStrings) {
  json file = SmallTokenizer();
  file["model"]["merges"] = {"a b", "ab a"};
  EXPECT_EQ(Load(file)->Encode("aba", false), (Ids{3}));
}

TEST(TokenizerTest, IllFormedBytesCountAsReplacementCharacters) {
  json file = SmallTokenizer();
  file["model"]["vocab"]["\uFFFD"] = 7;
  EXPECT_EQ(Load(file)->Encode("a\xFF\xE4\xB8z", false), (Ids{0, 7, 7}));
}

TEST(TokenizerTest, ConfigNamesBosAndEos) {
  const auto tokenizer = Load(
      SmallTokenizer(), R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "model_max_length": 512})");
  EXPECT_EQ(tokenizer->bos_id(), 5);
  EXPECT_EQ(tokenizer->eos_id(), 6);
  EXPECT_EQ(tokenizer->max_length(), 512);
  EXPECT_EQ(tokenizer->vocab_size(), 7);
  EXPECT_FALSE(tokenizer->adds_bos());
}

TEST(TokenizerTest, LlamaClassAddsBosWhateverThePostProcessor) {
  const std::string config =
      R"({"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>", "model_max_length": 1e30)";
  const auto with = Load(SmallTokenizer(), config + R"(, "add_bos_token": true})");
  EXPECT_TRUE(with->adds_bos());
  EXPECT_EQ(with->Encode("ab", true), (Ids{5, 2}));
  EXPECT_EQ(with->Encode("ab", false), (Ids{2}));
  EXPECT_EQ(with->max_length(), std::nullopt);
  EXPECT_FALSE(Load(SmallTokenizer(), config + R"(, "add_bos_token": false})")->adds_bos());
}

TEST(TokenizerTest, OtherClassesLeaveThePostProcessor) {
  const std::string config =
      R"({"tokenizer_class": "Qwen2Tokenizer", "bos_token": "<s>", "add_bos_token": true})";
  EXPECT_FALSE(Load(SmallTokenizer(), config)->adds_bos());
}

TEST(TokenizerTest, UnknownComponentsAreRefusedByName) {
  json file = SmallTokenizer();
  file["normalizer"] = {{"type", "Precompiled"}};
  ExpectRefused(file, "TOKENIZER_UNSUPPORTED", "normalizer.Precompiled");
  file = SmallTokenizer();
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "BertPreTokenizer"}}}}};
  ExpectRefused(file, "TOKENIZER_UNSUPPORTED", "pre_tokenizer.BertPreTokenizer");
  file = SmallTokenizer();
  file["model"]["type"] = "Unigram";
  ExpectRefused(file, "TOKENIZER_UNSUPPORTED", "model.Unigram");
  file = SmallTokenizer();
  file["model"]["dropout"] = 0.1;
  ExpectRefused(file, "TOKENIZER_UNSUPPORTED", "model.dropout");
  file = SmallTokenizer();
  file["decoder"] = {{"type", "WordPiece"}};
  ExpectRefused(file, "TOKENIZER_UNSUPPORTED", "decoder.WordPiece");
  file = SmallTokenizer();
  file["post_processor"] = {{"type", "RobertaProcessing"}};
  ExpectRefused(file, "TOKENIZER_UNSUPPORTED", "post_processor.RobertaProcessing");
}

TEST(TokenizerTest, DamagedFilesAreInvalid) {
  for (const char* text :
       {"", "{", "[]", "{\"model\": 3}", "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": \"x\"}}}"}) {
    const auto tokenizer = Tokenizer::FromFiles(text, "");
    ASSERT_FALSE(tokenizer.ok()) << text;
    EXPECT_EQ(GetErrorInfo(tokenizer.status()).reason, "TOKENIZER_INVALID") << text;
  }
  json file = SmallTokenizer();
  file["model"]["merges"].push_back({"a", "z"});
  ExpectRefused(file, "TOKENIZER_INVALID", "");
  file = SmallTokenizer();
  file["model"]["vocab"]["z"] = -3;
  ExpectRefused(file, "TOKENIZER_INVALID", "");
  ExpectRefused(SmallTokenizer(), "TOKENIZER_INVALID", "", R"({"bos_token": "<none>"})");
  ExpectRefused(SmallTokenizer(), "TOKENIZER_INVALID", "", "{\"bos_token\"");
}

TEST(TokenizerTest, EncodesFromManyThreads) {
  const auto tokenizer = Load(SmallTokenizer());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) EXPECT_EQ(tokenizer->Encode("aba<s>b", false), (Ids{3, 5, 1}));
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace quantmoe
