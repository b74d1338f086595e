// Published templates render as transformers renders them (testdata/chat_templates), other Jinja does or is
// refused, and no template takes the machine.
#include "text/chat_template.h"

#include <string>

#include "absl/strings/str_cat.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using Json = nlohmann::ordered_json;

const std::string kFolder = QUANTMOE_TESTDATA "/chat_templates/";

const Json& Expected() {
  static const auto* const kExpected = new Json(Json::parse(ReadTestFile(kFolder + "expected.json")));
  return *kExpected;
}

absl::StatusOr<std::string> Render(const std::string& source, const Json& more,
                                   const std::string& file = "t.jinja") {
  Json variables = {{"documents", nullptr}, {"add_generation_prompt", false}};
  variables.update(Expected().at("tokens"));
  variables.update(more);
  auto parsed = ChatTemplate::Parse(source, file);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(variables);
}

TEST(ChatTemplateTest, PublishedTemplatesRenderAsInTransformers) {
  int texts = 0;
  for (const auto& [file, conversations] : Expected().at("rendered").items()) {
    const std::string source = ReadTestFile(kFolder + file);
    ASSERT_FALSE(source.empty()) << file;
    for (const auto& [name, text] : conversations.items()) {
      const auto rendered = Render(source, Expected().at("conversations").at(name));
      if (text.is_null()) {
        EXPECT_FALSE(rendered.ok()) << file << ", " << name << ": " << *rendered;
        continue;
      }
      ++texts;
      ASSERT_TRUE(rendered.ok()) << file << ", " << name << ": " << rendered.status();
      EXPECT_EQ(*rendered, text.get<std::string>()) << file << ", " << name;
    }
  }
  EXPECT_GT(texts, 200);
}

// Nothing in between: what Jinja2 raises an exception for is refused, too.
TEST(ChatTemplateTest, OtherJinjaIsRenderedAsInTransformersOrRefused) {
  int same = 0;
  for (const Json& example : Expected().at("language")) {
    const auto source = example.at("template").get<std::string>();
    const auto rendered = Render(source, Expected().at("variables"));
    if (!rendered.ok()) {
      EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument) << source;
      EXPECT_TRUE(GetErrorInfo(rendered.status()).reason.starts_with("CHAT_TEMPLATE_")) << source;
      continue;
    }
    ASSERT_FALSE(example.at("text").is_null()) << source << " became " << *rendered;
    EXPECT_EQ(*rendered, example.at("text").get<std::string>()) << source;
    ++same;
  }
  EXPECT_GE(same, 55);
}

void ExpectRefused(const std::string& source, const std::string& reason, const std::string& words) {
  const auto rendered = Render(source, {{"messages", Json::array()}});
  ASSERT_FALSE(rendered.ok()) << source.substr(0, 200) << " became " << rendered->substr(0, 200);
  EXPECT_EQ(GetErrorInfo(rendered.status()).reason, reason) << rendered.status();
  EXPECT_EQ(GetErrorInfo(rendered.status()).metadata.at("file"), "t.jinja");
  EXPECT_NE(rendered.status().message().find(words), std::string::npos) << rendered.status();
  EXPECT_EQ(rendered.status().message().find('\n'), std::string::npos) << rendered.status();
}

TEST(ChatTemplateTest, WhatIsNotSupportedIsNamedWithItsLine) {
  ExpectRefused("a\n{{ 'x'|wordwrap(3) }}", "CHAT_TEMPLATE_FAILED",
                "t.jinja: line 2: Unknown (built-in) filter 'wordwrap'");
  ExpectRefused("\n\n{% include 'x' %}", "CHAT_TEMPLATE_INVALID", "line 3: Unknown statement: include");
  ExpectRefused("{{ 'x' }}\n{{ [1] }}", "CHAT_TEMPLATE_FAILED", "line 2: a list is printed as it is");
  ExpectRefused("{% if true %}\n{{ unknown_function() }}\n{% endif %}", "CHAT_TEMPLATE_FAILED", "line 2: ");
  ExpectRefused("{{ messages[0].content.parts }}", "CHAT_TEMPLATE_FAILED", "undefined value");
  ExpectRefused("{{ raise_exception('roles must alternate') }}", "CHAT_TEMPLATE_FAILED",
                "line 1: roles must alternate");
  ExpectRefused("{{ 'x'", "CHAT_TEMPLATE_INVALID", "line 1: ");
  ExpectRefused("{{ 999999999999999999999 }}", "CHAT_TEMPLATE_INVALID", "too large");
}

TEST(ChatTemplateTest, TheDayIsAlwaysTheSame) {
  EXPECT_EQ(*Render("{{ strftime_now('%A, %d %B %Y, day %j') }}", Json::object()),
            "Friday, 26 July 2024, day 208");
}

TEST(ChatTemplateTest, WorkIsBounded) {
  const std::string grow = "{% for i in range(60) %}{% set ns.s = ";
  for (const std::string& source : {
           std::string("{% for i in range(1000000000) %}x{% endfor %}"),
           std::string("{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% "
                       "endfor %}{% endfor %}{% endfor %}"),
           std::string("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
           "{% set ns=namespace(s='x') %}" + grow + "ns.s ~ ns.s %}{% endfor %}",
           "{% set ns=namespace(s='') %}" + grow + "ns.s ~ ns.s %}{% endfor %}",
           "{% set ns=namespace(s=[1]) %}" + grow + "ns.s + ns.s %}{% endfor %}",
           "{% set ns=namespace(s=[1]) %}" + grow + "[ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}",
           std::string("{% set ns=namespace() %}{% set ns.s = [{'a': ns}] %}{{ ns|tojson }}"),
           std::string("{{ 'x' * 1000000000 }}"),
           std::string("{% set a='x'*100000 %}{{ a.replace('x', a) }}"),
           std::string("{{ range(90000)|join('x' * 100000) }}"),
           std::string("{{ 'a\\nb'|indent(1000000000) }}"),
           std::string("{{ [[1]]|tojson(indent=1000000000) }}"),
           std::string("{{ 1 is divisibleby(0) }}"),
           std::string("{{ 1 % 0 }}"),
           std::string("{{ 'x '.join([]) }}{% set a = ('x ' * 200000) %}{{ a.split(' ')|length }}"),
       }) {
    ExpectRefused(source, "CHAT_TEMPLATE_FAILED", "");
  }
}

TEST(ChatTemplateTest, NestingIsBounded) {
  const auto repeat = [](const std::string& text, int times) {
    std::string all;
    while (times-- > 0) all += text;
    return all;
  };
  for (const std::string& source :
       {"{{ " + repeat("(", 100000) + "1" + repeat(")", 100000) + " }}", "{{ " + repeat("[", 50000) + " }}",
        repeat("{% if 1 %}", 20000), "{% if a %}" + repeat("{% elif a %}", 20000) + "{% endif %}",
        "{{ " + repeat("not ", 60000) + "1 }}", "{{ a" + repeat(".b", 60000) + " }}", repeat("x", 300000)}) {
    ExpectRefused(source, "CHAT_TEMPLATE_INVALID", "");
  }
  ExpectRefused("{{ " + repeat("'a' ~ ", 900) + "'b' }}", "CHAT_TEMPLATE_FAILED", "nested too deeply");
}

// A file of rows may cost what its rows are worth, not rows times the limit of one.
TEST(ChatTemplateTest, AllRowsTogetherAreBounded) {
  auto steps = *ChatTemplate::Parse("{% for i in range(9000) %}{{ i }}{% endfor %}", "t");
  auto bytes = *ChatTemplate::Parse("{{ '" + std::string(1000, 'x') + "' * 8000 }}", "t");
  absl::Status of_steps, of_bytes;
  for (int row = 0; row < 200 && of_steps.ok(); ++row) of_steps = steps.Render(Json::object()).status();
  for (int row = 0; row < 200 && of_bytes.ok(); ++row) of_bytes = bytes.Render(Json::object()).status();
  EXPECT_NE(of_steps.message().find("too many steps"), std::string::npos) << of_steps;
  EXPECT_NE(of_bytes.message().find("far more text"), std::string::npos) << of_bytes;
  auto plain = *ChatTemplate::Parse("{% for m in messages %}{{ m.content }}{% endfor %}", "t");
  const Json row = {{"messages", {{{"role", "user"}, {"content", std::string(2000, 'x')}}}}};
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(plain.Render(row).ok()) << i;
}

}  // namespace
}  // namespace quantmoe
