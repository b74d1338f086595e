#include "quant/evaluate/requests.h"

#include <gtest/gtest.h>

#include "base/error_info.h"
#include "tests/quant/evaluate/evaluation_fixture.h"

namespace quantmoe {
namespace {

class RequestsTest : public testing::Test {
 protected:
  EvalRequests Perplexity(const std::string& text, int window, std::optional<bool> add_bos) {
    EvalOptions options;
    options.add_bos = add_bos;
    RequestBuilder builder(*tokenizer_, options);
    const absl::Status status = builder.AddPerplexity(text, window);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return std::move(builder).Finish();
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = TinyTokenizer();
};

TEST_F(RequestsTest, WindowsCoverTheTextOnce) {
  const std::string text = ReadTestdata("tiny_heldout.txt").substr(0, 5000);
  std::vector<int32_t> ids = *tokenizer_->Encode(text, false);
  ids.insert(ids.begin(), *tokenizer_->bos_id());
  const EvalRequests requests = Perplexity(text, 64, true);
  ASSERT_EQ(requests.sequences.size(), ids.size() / 64);
  for (size_t w = 0; w < requests.sequences.size(); ++w) {
    const EvalSequence& sequence = requests.sequences[w];
    const EvalTarget& target = sequence.targets.at(0);
    ASSERT_EQ(sequence.ids.size(), 63u);
    EXPECT_EQ(target.start, 0);
    EXPECT_EQ(target.item, static_cast<int64_t>(w));
    EXPECT_TRUE(std::equal(sequence.ids.begin(), sequence.ids.end(), ids.begin() + 64 * w));
    EXPECT_TRUE(std::equal(target.tokens.begin(), target.tokens.end(), ids.begin() + 64 * w + 1));
  }
}

TEST_F(RequestsTest, ShortTextIsOneShorterWindow) {
  const EvalRequests requests = Perplexity("Hello there", 512, std::nullopt);
  ASSERT_EQ(requests.sequences.size(), 1u);
  EXPECT_EQ(requests.sequences[0].ids.size() + 1, tokenizer_->Encode("Hello there", false)->size());
}

TEST_F(RequestsTest, TextOfLessThanTwoTokensIsRefused) {
  RequestBuilder builder(*tokenizer_, {});
  EXPECT_EQ(GetErrorInfo(builder.AddPerplexity("", 512)).reason, "PERPLEXITY_TEXT_TOO_SHORT");
  EXPECT_EQ(GetErrorInfo(builder.AddPerplexity("a", 512)).reason, "PERPLEXITY_TEXT_TOO_SHORT");
  EXPECT_EQ(GetErrorInfo(builder.AddPerplexity("a long text", 1)).reason, "EVALUATION_INVALID");
}

TEST_F(RequestsTest, LettersShareOneSequence) {
  RequestBuilder builder(*tokenizer_, {});
  ASSERT_TRUE(builder
                  .AddTask(Benchmark::kMmlu, ReadTestdata("tasks/mmlu.jsonl"), "mmlu",
                           ReadTestdata("tasks/mmlu_dev.jsonl"), "dev")
                  .ok());
  const EvalRequests requests = std::move(builder).Finish();
  size_t targets = 0;
  for (const EvalSequence& sequence : requests.sequences) targets += sequence.targets.size();
  EXPECT_EQ(targets, 1600u);
  EXPECT_LE(requests.sequences.size(), 400u);
}

TEST_F(RequestsTest, FewshotDataMustCoverEverySubject) {
  RequestBuilder builder(*tokenizer_, {});
  const std::string mmlu = ReadTestdata("tasks/mmlu.jsonl");
  const std::string dev = ReadTestdata("tasks/mmlu_dev.jsonl");
  EXPECT_EQ(
      GetErrorInfo(builder.AddTask(Benchmark::kMmlu, mmlu, "m", dev.substr(0, dev.find('\n')), "d")).reason,
      "TASK_DATA_INVALID");
  const std::string piqa = ReadTestdata("tasks/piqa.jsonl");
  EXPECT_EQ(GetErrorInfo(builder.AddTask(Benchmark::kPiqa, piqa, "p", piqa, "p")).reason,
            "TASK_FEWSHOT_UNSUPPORTED");
}

TEST_F(RequestsTest, ChoiceThatDoesNotFitIsRefused) {
  EvalOptions options;
  options.max_length = 2;
  RequestBuilder builder(*tokenizer_, options);
  const absl::Status status =
      builder.AddTask(Benchmark::kPiqa, ReadTestdata("tasks/piqa.jsonl"), "piqa", "", "");
  EXPECT_EQ(GetErrorInfo(status).reason, "TASK_DATA_INVALID");
  EXPECT_NE(status.message().find("piqa item 0 choice 0"), absl::string_view::npos) << status.ToString();
}

TEST_F(RequestsTest, BosCannotBeAddedWithoutOne) {
  const auto tokenizer = Tokenizer::FromFiles(ReadTestdata("tiny-qwen2-moe/tokenizer.json"), "");
  ASSERT_TRUE(tokenizer.ok());
  EvalOptions options;
  options.add_bos = true;
  RequestBuilder builder(**tokenizer, options);
  EXPECT_EQ(GetErrorInfo(builder.AddPerplexity("some text", 16)).reason, "TOKENIZER_HAS_NO_BOS");
}

TEST_F(RequestsTest, PerplexityTextThatBeginsWithBosGetsNoSecondOne) {
  const auto tokenizer = Tokenizer::FromFiles(ReadTestdata("tiny-qwen2-moe/tokenizer.json"),
                                              ReadTestdata("tiny-qwen2-moe/tokenizer_config.json"));
  ASSERT_TRUE(tokenizer.ok());
  EvalOptions options;
  options.add_bos = true;
  const auto ids = [&](const std::string& text) {
    RequestBuilder builder(**tokenizer, options);
    EXPECT_TRUE(builder.AddPerplexity(text, 16).ok());
    return std::move(builder).Finish().sequences.at(0).ids;
  };
  EXPECT_EQ(ids("<|bos|>some text"), ids("some text"));
}

}  // namespace
}  // namespace quantmoe
