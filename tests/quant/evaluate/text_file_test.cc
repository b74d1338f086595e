// What is rows is never taken as plain text, and what is wrong is named.
#include "quant/evaluate/text_file.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <gtest/gtest.h>

#include "base/error_info.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

// "role:content;" for each message, in brackets.
absl::StatusOr<std::string> Render(const Json& messages, const Json& tools) {
  std::string text = "[";
  for (const Json& message : messages)
    absl::StrAppend(&text, message.at("role").get<std::string>(), ":",
                    message.at("content").get<std::string>(), ";");
  return absl::StrCat(text, tools.is_null() ? "" : tools.dump(), "]");
}

std::string Read(std::string_view bytes) {
  const auto text = ReadTextFile(bytes, "data", Render);
  return text.ok() ? *text : absl::StrCat("ERROR ", text.status().message());
}

void ExpectRefused(std::string_view bytes, const std::string& line, const std::string& field,
                   const std::string& words) {
  const auto text = ReadTextFile(bytes, "data", Render);
  ASSERT_FALSE(text.ok()) << bytes.substr(0, 100) << " became " << *text;
  const ErrorInfo info = GetErrorInfo(text.status());
  EXPECT_EQ(info.reason, "TASK_DATA_INVALID") << text.status();
  EXPECT_EQ(info.metadata.at("line"), line) << text.status();
  EXPECT_EQ(info.metadata.at("field"), field) << text.status();
  EXPECT_NE(text.status().message().find(words), std::string::npos) << text.status();
  EXPECT_TRUE(absl::StartsWith(text.status().message(), "data")) << text.status();
}

TEST(TextFileTest, PlainTextStaysAsItIs) {
  EXPECT_EQ(Read("It was the best\n of times."), "It was the best\n of times.");
  EXPECT_EQ(Read("{\\bf TeX} begins with a brace\nand goes on"),
            "{\\bf TeX} begins with a brace\nand goes on");
  for (const char* text :
       {"[Chapter 1] begins with a bracket", "[[Link]] begins with two", "[[1]] has a note",
        "[1]\nis a line of its own\n", "[", "[[", "[[[ASCII art]]]\n[more]"})
    EXPECT_EQ(Read(text), text);
  EXPECT_EQ(Read("[1, 2, 3]"), "[1, 2, 3]");
  EXPECT_EQ(Read(""), "");
  EXPECT_EQ(Read("\xEF\xBB\xBFtext"), "text");
}

TEST(TextFileTest, RowsOfTextAreJoinedByAnEmptyLine) {
  EXPECT_EQ(Read("{\"text\": \"a\"}\n\n{\"text\": \"b\", \"messages\": 1}\n"), "a\n\nb");
  EXPECT_EQ(Read("[{\"text\": \"a\"},\n {\"text\": \"b\"}]"), "a\n\nb");
  EXPECT_EQ(Read("[\"a\",\n \"b\"]"), "a\n\nb");
  EXPECT_EQ(Read("{\n \"text\": \"a\"\n}\n"), "a");
  EXPECT_EQ(Read("\xEF\xBB\xBF{\"text\": \"a\"}"), "a");
}

TEST(TextFileTest, ConversationsOfEachFormAreRendered) {
  EXPECT_EQ(
      Read(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})"),
      "[user:q;assistant:a;]");
  EXPECT_EQ(
      Read(
          R"({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"})"),
      "[system:s;user:q;assistant:a;]");
  EXPECT_EQ(Read(R"({"messages": [{"role": "system", "content": "s"}], "system": "t"})"), "[system:s;]");
  EXPECT_EQ(Read(R"({"instruction": "i", "input": "", "output": "o"})"), "[user:i;assistant:o;]");
  EXPECT_EQ(Read(R"({"instruction": "i", "input": "x", "output": "o"})"), "[user:i\n\nx;assistant:o;]");
  EXPECT_EQ(Read(R"({"prompt": "p", "completion": "c"})"), "[user:p;assistant:c;]");
  EXPECT_EQ(
      Read(
          R"({"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]})"),
      "[user:p;assistant:c;]");
  EXPECT_EQ(Read(R"([{"messages": [{"role": "user", "content": "q"}], "tools": [1]}])"), "[user:q;[1]]");
  EXPECT_EQ(Read("{\"prompt\": \"p\", \"completion\": \"c\"}\n{\"prompt\": \"q\", \"completion\": \"d\"}"),
            "[user:p;assistant:c;][user:q;assistant:d;]");
}

TEST(TextFileTest, RowsOfOtherFormsNameTheField) {
  ExpectRefused(R"({"content": "x"})", "1", "text", "is missing; the row has content.");
  ExpectRefused("{\"text\": \"x\"}\n{\"body\": \"y\"}", "2", "text", "is missing; the row has body.");
  ExpectRefused(R"({"text": null})", "1", "text", "is not a string but null");
  ExpectRefused("{\"text\": \"x\"}\n{\"text\": null}", "2", "text", "is not a string but null");
  ExpectRefused(R"([{"content": "x"}])", "1", "text", "is missing");
  ExpectRefused(R"({"instruction": "i"})", "1", "output", "is missing");
  ExpectRefused(R"({"prompt": "p"})", "1", "completion", "is missing");
  ExpectRefused(R"({"messages": "[]"})", "1", "messages", "is not a list but string");
  ExpectRefused(R"({"messages": []})", "1", "messages", "is empty");
  ExpectRefused(R"({"messages": [{"content": "x"}]})", "1", "messages[0].role", "is missing");
  ExpectRefused(R"({"messages": [{"role": "user"}]})", "1", "messages[0].content", "is missing");
  ExpectRefused(R"({"conversations": [{"from": "martian", "value": "x"}]})", "1", "conversations[0].from",
                "martian");
}

TEST(TextFileTest, BrokenJsonIsRefused) {
  ExpectRefused("{\"text\": \"x\"}\n{\"text\": \"y\"\n", "2", "", "not a JSON object");
  ExpectRefused("\n{\"text\": \"x\n", "2", "", "begins as JSON");
  ExpectRefused("[{\"text\": \"x\"}", "1", "", "begins as JSON");
  for (const char* lists : {R"([["a", "b"], ["c"]])", "[[1, 2], [3]]", "[1, [2]]", "[[]]", "[[[{}]]]",
                            "[null, {}]", R"([["a", "b"], ["c")", R"(["a", "b)", R"([ [ {"text": "x"})",
                            "[\"a\", 1]\n[\"b\", 2]\n", "[[1], [2]]\n[[3]]"})
    ExpectRefused(lists, "1", "", "begins as JSON");
  ExpectRefused("[{\"text\": \"x\"}, 7]", "2", "", "neither an object nor a string");
  ExpectRefused("[]", "0", "", "no rows");
}

TEST(TextFileTest, OtherEncodingsAreRefused) {
  ExpectRefused(std::string_view("\xFF\xFEh\0i\0", 6), "", "", "UTF-16");
  ExpectRefused(std::string_view("\xFE\xFF\0h\0i", 6), "", "", "UTF-16");
  ExpectRefused(std::string_view("h\0e\0l\0l\0o\0", 10), "", "", "zero bytes");
  ExpectRefused(
      "Stra\xDF"
      "e, gr\xF6\xDF"
      "er",
      "", "", "3 of its 14 characters are ill-formed");
  std::string slip(5000, 'x');
  slip[77] = '\xFF';
  EXPECT_EQ(Read(slip), slip);  // the tokenizer replaces it
}

TEST(TextFileTest, ErrorsOfTheTemplateNameTheRow) {
  const auto refuse = [](const Json&, const Json&) -> absl::StatusOr<std::string> {
    return absl::InvalidArgumentError("no such filter");
  };
  const auto text =
      ReadTextFile("{\"text\": \"x\"}\n{\"prompt\": \"p\", \"completion\": \"c\"}", "data", refuse);
  EXPECT_NE(text.status().message().find("data:2"), std::string::npos) << text.status();
  EXPECT_NE(text.status().message().find("no such filter"), std::string::npos) << text.status();
}

}  // namespace
}  // namespace quantmoe
