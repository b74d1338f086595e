// The vocabulary that only has tiktoken.model: what the family's table adds, and what is refused.
#include "text/tiktoken_model.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "text/tokenizer.h"

namespace quantmoe {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::string Line(const std::string& token, int rank) {
  return absl::StrCat(absl::Base64Escape(token), " ", rank, "\n");
}

// The 256 bytes, then `tokens`.
std::string Ranks(const std::vector<std::string>& tokens) {
  std::string text;
  for (int b = 0; b < 256; ++b) text += Line(std::string(1, static_cast<char>(b)), b);
  for (size_t i = 0; i < tokens.size(); ++i) text += Line(tokens[i], static_cast<int>(256 + i));
  return text;
}

json Config(int first) {
  return {{"tokenizer_class", "TikTokenTokenizer"},
          {"auto_map", {{"AutoTokenizer", {"tokenization_moonshot.TikTokenTokenizer", nullptr}}}},
          {"bos_token", "[BOS]"},
          {"eos_token", {{"content", "[EOS]"}}},
          {"added_tokens_decoder",
           {{std::to_string(first), {{"content", "[BOS]"}, {"special", true}}},
            {std::to_string(first + 1), {{"content", "[EOS]"}, {"special", true}}},
            {std::to_string(first + 5), {{"content", "<|im_end|>"}, {"special", true}}}}}};
}

void ExpectRefused(const std::string& model, const json& config, const std::string& reason,
                   const std::string& words) {
  const auto tokenizer = Tokenizer::FromTiktoken(model, config.dump());
  ASSERT_FALSE(tokenizer.ok()) << words;
  EXPECT_EQ(GetErrorInfo(tokenizer.status()).reason, reason) << tokenizer.status();
  EXPECT_NE(tokenizer.status().message().find(words), std::string::npos) << tokenizer.status();
}

TEST(TiktokenModelTest, IdsBehindTheRanksAreNamedOrReserved) {
  const auto tokenizer = *Tokenizer::FromTiktoken(Ranks({"ab"}), Config(257).dump());
  EXPECT_EQ(tokenizer->bos_id(), 257);
  EXPECT_EQ(tokenizer->eos_id(), 258);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->vocab_size(), 257 + 258);
  EXPECT_EQ(*tokenizer->Encode("ab<|im_end|>[BOS]<|reserved_token_259|><|reserved_token_514|>", true),
            (Ids{256, 262, 257, 259, 514}));
  EXPECT_GT(tokenizer->Encode("<|reserved_token_262|><|reserved_token_515|>", true)->size(), 10u);
  EXPECT_EQ(*tokenizer->Decode(Ids{256, 262, 259}, /*skip_special_tokens=*/true), "ab<|reserved_token_259|>");
}

// As PyPI tiktoken has it. "abc" has the rank 257 and "aba" 259, while "ab", which "aba" is made of, comes
// last.
TEST(TiktokenModelTest, NeighboursMergeByTheRankOfWhatTheyMake) {
  const auto tokenizer =
      *Tokenizer::FromTiktoken(Ranks({"bc", "abc", "cd", "aba", "ab"}), Config(261).dump());
  EXPECT_EQ(*tokenizer->Encode("abcd", false), (Ids{257, 'd'}));
  EXPECT_EQ(*tokenizer->Encode("abab", false), (Ids{259, 'b'}));
  EXPECT_EQ(*tokenizer->Encode("ababab", false), (Ids{259, 'b', 260}));
  EXPECT_EQ(*tokenizer->Encode("aabab", false), (Ids{'a', 259, 'b'}));
  EXPECT_EQ(*tokenizer->Encode("xaba", false), (Ids{'x', 259}));
  EXPECT_EQ(*tokenizer->Encode("aba", false), (Ids{259}));
}

TEST(TiktokenModelTest, OtherClassesAreRefusedWithTheWayOut) {
  json config = Config(256);
  config["tokenizer_class"] = "QWenTokenizer";
  ExpectRefused(Ranks({}), config, "TOKENIZER_UNSUPPORTED", "QWenTokenizer");
  ExpectRefused(Ranks({}), config, "TOKENIZER_UNSUPPORTED", "convert_tiktoken_to_fast");
  config = Config(256);
  config["auto_map"]["AutoTokenizer"][0] = "someone/else--tokenization_else.TikTokenTokenizer";
  ExpectRefused(Ranks({}), config, "TOKENIZER_UNSUPPORTED", "tokenization_else.TikTokenTokenizer");
  const auto bare = Tokenizer::FromTiktoken(Ranks({}), "");
  EXPECT_EQ(GetErrorInfo(bare.status()).reason, "TOKENIZER_UNSUPPORTED") << bare.status();
}

TEST(TiktokenModelTest, DamagedRanksAreRefusedWithTheLine) {
  ExpectRefused("hello\n", Config(1), "TOKENIZER_INVALID", "tiktoken.model: line 1 ");
  ExpectRefused("IQ== 0\n", Config(1), "TOKENIZER_INVALID", "1 of the 256 bytes");
  ExpectRefused(Ranks({}) + "!!!! 256\n", Config(257), "TOKENIZER_INVALID", "line 257 ");
  ExpectRefused(Ranks({}) + "YWI= -1\n", Config(257), "TOKENIZER_INVALID", "line 257 has the rank -1");
  ExpectRefused(Ranks({}) + "YWI= 7\n", Config(257), "TOKENIZER_INVALID", "the same id 7");
  ExpectRefused(Ranks({}) + Line(std::string(5000, 'a'), 256), Config(257), "TOKENIZER_INVALID",
                "5000 bytes");
  ExpectRefused(Ranks({"ab", "ab"}), Config(258), "TOKENIZER_INVALID", "twice");
  ExpectRefused("version https://git-lfs.github.com/spec/v1\n", Config(1), "TOKENIZER_INVALID", "line 1 ");
}

TEST(TiktokenModelTest, SpecialTokensOutsideOfTheirIdsAreRefused) {
  ExpectRefused(Ranks({"ab"}), Config(200), "TOKENIZER_INVALID", "has the id 200, not between 257 and 514");
  json config = Config(256);
  config["added_tokens_decoder"]["260"] = {{"content", "[BOS]"}};
  ExpectRefused(Ranks({}), config, "TOKENIZER_INVALID", "'[BOS]' has the ids 256 and 260");
  config = Config(256);
  config["bos_token"] = "<s>";
  ExpectRefused(Ranks({}), config, "TOKENIZER_INVALID", "'<s>' is not a token of tiktoken.model");
}

}  // namespace
}  // namespace quantmoe
