#include "text/tokenizer.h"

#include <fstream>
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
  EXPECT_EQ(*tokenizer->Encode("ababa", false),
            (Ids{2, 3}));  // "a"+"b" twice first, then the leftmost "ab"+"a" is none
  EXPECT_EQ(*tokenizer->Encode("aba", false), (Ids{3}));
  EXPECT_EQ(*tokenizer->Encode("bab", false), (Ids{1, 2}));
}

TEST(TokenizerTest, WhatAnyTextMayGetHasToBeInTheEmbedding) {
  json file = SmallTokenizer();
  EXPECT_TRUE(Load(file)->CheckFits(7).ok());
  EXPECT_TRUE(Load(file)->CheckFits(5).ok()) << "only a text that has them gets the added tokens";
  EXPECT_EQ(GetErrorInfo(Load(file)->CheckFits(4)).reason, "TOKENIZER_INVALID");
  file["model"]["vocab"]["b"] = 9;
  EXPECT_EQ(Load(file)->CheckFits(9).message(),
            "tokenizer.json: model.vocab gives 'b' the id 9, but vocab_size of the model is 9");
  file["model"]["vocab"]["b"] = 1;
  file["post_processor"] = {{"type", "RobertaProcessing"}, {"cls", {"<s>", 6}}, {"sep", {"</s>", 70}}};
  EXPECT_TRUE(Load(file)->CheckFits(71).ok());
  EXPECT_EQ(Load(file)->CheckFits(70).message(),
            "tokenizer.json: texts get the id 70, but vocab_size of the model is 70");
}

TEST(TokenizerTest, UnknownCharactersVanishWithoutUnknownToken) {
  EXPECT_EQ(*Load(SmallTokenizer())->Encode("a?b", false), (Ids{2}));
}

TEST(TokenizerTest, UnknownCharactersFuseWhenAsked) {
  json file = SmallTokenizer();
  file["model"]["unk_token"] = "ba";
  EXPECT_EQ(*Load(file)->Encode("a??b", false), (Ids{0, 4, 4, 1}));
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(*Load(file)->Encode("a??b", false), (Ids{0, 4, 1}));
}

TEST(TokenizerTest, IgnoreMergesTakesWholeWords) {
  json file = SmallTokenizer();
  EXPECT_EQ(*Load(file)->Encode("ba", false), (Ids{1, 0}));
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(*Load(file)->Encode("ba", false), (Ids{4}));
}

TEST(TokenizerTest, MergesMayBeStrings) {
  json file = SmallTokenizer();
  file["model"]["merges"] = {"a b", "ab a"};
  EXPECT_EQ(*Load(file)->Encode("aba", false), (Ids{3}));
}

TEST(TokenizerTest, IllFormedBytesCountAsReplacementCharacters) {
  json file = SmallTokenizer();
  file["model"]["vocab"]["\uFFFD"] = 5;
  EXPECT_EQ(*Load(file)->Encode("a\xFF\xE4\xB8z", false), (Ids{0, 5, 5}));
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
  EXPECT_EQ(*with->Encode("ab", true), (Ids{5, 2}));
  EXPECT_EQ(*with->Encode("ab", false), (Ids{2}));
  EXPECT_EQ(with->max_length(), std::nullopt);
  EXPECT_FALSE(Load(SmallTokenizer(), config + R"(, "add_bos_token": false})")->adds_bos());
}

TEST(TokenizerTest, TextThatBeginsWithBosGetsNoSecondOne) {
  const auto tokenizer = Load(SmallTokenizer(), R"({"bos_token": "<s>"})");
  EXPECT_EQ(*tokenizer->EncodeText("ab", true), (Ids{5, 2}));
  EXPECT_EQ(*tokenizer->EncodeText("<s>ab", true), (Ids{5, 2}));
  EXPECT_EQ(*tokenizer->EncodeText("<s>ab", std::nullopt), (Ids{5, 2}));
  EXPECT_EQ(*tokenizer->EncodeText("ab", std::nullopt), (Ids{2}));
  EXPECT_EQ(*tokenizer->EncodeText("ab<s>", true), (Ids{5, 2, 5}));
  const auto adding = Load(SmallTokenizer(), R"({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>"})");
  EXPECT_EQ(*adding->EncodeText("ab", std::nullopt), (Ids{5, 2}));
  EXPECT_EQ(*adding->EncodeText("<s>ab", std::nullopt), (Ids{5, 2}));
  EXPECT_EQ(*adding->EncodeText("ab", false), (Ids{2}));
}

TEST(TokenizerTest, BosThatIsNotThereCannotBeAdded) {
  const auto tokenizer = Load(SmallTokenizer());
  EXPECT_EQ(GetErrorInfo(tokenizer->CheckAddBos(true)).reason, "TOKENIZER_HAS_NO_BOS");
  EXPECT_EQ(GetErrorInfo(tokenizer->EncodeText("ab", true).status()).reason, "TOKENIZER_HAS_NO_BOS");
  EXPECT_TRUE(tokenizer->CheckAddBos(false).ok());
  EXPECT_TRUE(tokenizer->CheckAddBos(std::nullopt).ok());
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
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "UnicodeScripts"}}}}};
  ExpectRefused(file, "TOKENIZER_UNSUPPORTED", "pre_tokenizer.UnicodeScripts");
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
  file["post_processor"] = {{"type", "Martian"}};
  ExpectRefused(file, "TOKENIZER_UNSUPPORTED", "post_processor.Martian");
}

// The message begins with the file and names the field.
void ExpectInvalid(const std::string& file, const std::string& words, const std::string& config = "") {
  const auto tokenizer = Tokenizer::FromFiles(file, config);
  ASSERT_FALSE(tokenizer.ok()) << words;
  EXPECT_EQ(GetErrorInfo(tokenizer.status()).reason, "TOKENIZER_INVALID") << tokenizer.status();
  const std::string message(tokenizer.status().message());
  EXPECT_TRUE(message.starts_with(config.empty() ? "tokenizer.json: " : "tokenizer_config.json: "))
      << message;
  EXPECT_NE(message.find(words), std::string::npos) << message;
  EXPECT_EQ(message.find("json.exception"), std::string::npos) << message;
}

void ExpectInvalidField(const std::string& pointer, const json& value, const std::string& words) {
  json file = SmallTokenizer();
  file[json::json_pointer(pointer)] = value;
  ExpectInvalid(file.dump(), words);
}

TEST(TokenizerTest, DamagedFilesAreInvalid) {
  ExpectInvalid("", "not valid JSON: parse error at line 1, column 1");
  ExpectInvalid("{\"model\": ", "not valid JSON: parse error at line 1");
  ExpectInvalid("\"\xff\"", "not valid JSON");
  ExpectInvalid("[]", "the file is a list of 0, not an object");
  ExpectInvalid("{}", "model is missing");
  ExpectInvalid("{\"model\": 3}", "model is 3, not an object");
  ExpectInvalid(SmallTokenizer().dump(), "bos_token is 3, not a string", R"({"bos_token": 3})");
  ExpectInvalid(SmallTokenizer().dump(), "'<none>' is not a token", R"({"bos_token": "<none>"})");
  ExpectInvalid(SmallTokenizer().dump(), "not valid JSON", "{\"bos_token\"");
}

TEST(TokenizerTest, DamagedFieldsAreNamed) {
  ExpectInvalidField("/model/vocab/a", "x", "model.vocab gives 'a' the id \"x\"");
  ExpectInvalidField("/model/vocab/z", -3, "model.vocab gives 'z' the id -3");
  ExpectInvalidField("/model/vocab/z", 1, "'b' and 'z' have the same id 1");
  ExpectInvalidField("/model/vocab", json::array(), "model.vocab is not an object");
  ExpectInvalidField("/model/merges/1", {"a", "z"}, "model.merges[1] ('a', 'z') needs 'z'");
  ExpectInvalidField("/model/merges/0", {"b", "b"}, "needs 'bb', which is not in model.vocab");
  ExpectInvalidField("/model/merges/0", "a", "model.merges[0] is \"a\", not a pair");
  ExpectInvalidField("/model/unk_token", "<unk>", "model.unk_token '<unk>' is not in model.vocab");
  ExpectInvalidField("/model/fuse_unk", "yes", "model.fuse_unk is \"yes\", not true or false");
  ExpectInvalidField("/added_tokens/1/id", -1, "added_tokens[1].id is -1, not between");
  ExpectInvalidField("/added_tokens/1", 7, "added_tokens[1] is 7, not an object");
  ExpectInvalidField("/added_tokens/1/content", std::string(5000, 'x'), "an added token has 5000 bytes");
  ExpectInvalidField("/normalizer", {{"type", "Prepend"}}, "normalizer.prepend is missing");
  ExpectInvalidField("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}},
                     "pre_tokenizer.replacement is \"ab\", not one character");
}

TEST(TokenizerTest, MissingByteTokensAreNamed) {
  ExpectInvalidField("/model/byte_fallback", true, "needs the token '<0x00>'");
  ExpectInvalidField("/pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}},
                     "has no token '\u010a' for the byte <0x0A>");
}

TEST(TokenizerTest, DeepNestingIsRefused) {
  std::string nested = R"({"type": "NFC"})";
  for (int i = 0; i < 10000; ++i) nested = R"({"type": "Sequence", "normalizers": [)" + nested + "]}";
  ExpectInvalid(R"({"normalizer": )" + nested + "}", "deeper nesting");
}

TEST(TokenizerTest, ExplodingTextIsAnErrorThatNamesTheFile) {
  json file = SmallTokenizer();
  file["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a+)+$"}}}, {"behavior", "Isolated"}, {"invert", false}};
  const auto ids = Load(file)->Encode(std::string(60, 'a') + "b", false);
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(GetErrorInfo(ids.status()).reason, "TOKENIZER_LIMIT") << ids.status();
  EXPECT_EQ(GetErrorInfo(ids.status()).metadata.at("file"), "tokenizer.json");
  file = SmallTokenizer();
  const json grow = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<json>(40, grow)}};
  EXPECT_EQ(GetErrorInfo(Load(file)->Encode("a", false).status()).reason, "TOKENIZER_LIMIT");
}

// One more merge, never used, that joins everything leaves no border in the text: the ids stay.
TEST(TokenizerTest, BordersDoNotChangeIds) {
  json file = SmallTokenizer();
  file["model"]["vocab"].update(json{{"?", 5}, {"\n", 6}, {"b\n", 7}, {"<unk>", 8}});
  file["model"]["merges"].push_back({"b", "\n"});
  file["model"]["unk_token"] = "<unk>";
  file["model"]["fuse_unk"] = true;
  std::string text;
  for (int i = 0; i < 200; ++i) text += "ababa?b\u00e9\u00e8aab?" + std::string(i % 7, 'b') + "\n";
  const auto in_parts = *Load(file)->Encode(text, false);
  file["model"]["vocab"].update(json{{"x", 9}, {"<unk>x", 10}});
  file["model"]["merges"].push_back({"<unk>", "x"});  // a merge of the unknown token: no borders at all
  EXPECT_EQ(in_parts, *Load(file)->Encode(text, false));
}

// What make_added_tokens.py saw transformers do: the ids of the list are not what counts.
TEST(TokenizerTest, AddedTokensGetTheIdsOfTheReference) {
  const json cases = json::parse(std::ifstream(QUANTMOE_TESTDATA "/tokenizers/added_tokens.json"));
  ASSERT_GT(cases.size(), 20u);
  for (const json& example : cases) {
    const auto tokenizer = Tokenizer::FromFiles(example.at("file").dump(), example.at("config").dump());
    ASSERT_TRUE(tokenizer.ok()) << example.at("name") << ": " << tokenizer.status();
    EXPECT_EQ(*(*tokenizer)->Encode(example.at("text").get<std::string>(), false),
              example.at("ids").get<Ids>())
        << example.at("name");
  }
}

// The reference gives "<s>" and "c" the same id, 6.
TEST(TokenizerTest, AddedTokenWithoutAnIdOfItsOwnIsRefused) {
  json file = SmallTokenizer();
  file["model"]["vocab"]["c"] = 6;
  ExpectRefused(file, "TOKENIZER_INVALID", "");
}

TEST(TokenizerTest, SpecialTokensThatShallBeSplitAreRefused) {
  ExpectRefused(SmallTokenizer(), "TOKENIZER_UNSUPPORTED", "split_special_tokens",
                R"({"split_special_tokens": true})");
}

TEST(TokenizerTest, LongestAddedTokenWins) {
  json file = SmallTokenizer();
  file["added_tokens"].push_back({{"id", 7}, {"content", "<s>>"}, {"special", true}});
  file["added_tokens"].push_back({{"id", 8}, {"content", "<"}, {"special", true}});
  EXPECT_EQ(*Load(file)->Encode("<s>><s><s<", false), (Ids{7, 5, 8, 8}));
}

TEST(TokenizerTest, EncodesFromManyThreads) {
  const auto tokenizer = Load(SmallTokenizer());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) EXPECT_EQ(*tokenizer->Encode("aba<s>b", false), (Ids{3, 5, 1}));
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace quantmoe
