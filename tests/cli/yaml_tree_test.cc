#include "cli/yaml_tree.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "tests/support/status_matchers.h"

namespace quantmoe::cli {
namespace {

using ::testing::HasSubstr;

// "PLACE: PROBLEM" of what is refused.
std::string Refusal(const std::string& text) {
  const absl::StatusOr<YamlNode> root = ParseYaml(text, "f");
  if (root.ok()) return "taken";
  const std::vector<FieldViolation> violations = GetErrorInfo(root.status()).violations;
  return violations.size() == 1 ? absl::StrCat(violations[0].field, ": ", violations[0].description)
                                : "no place";
}

TEST(YamlTreeTest, NodesKnowTheirPlaces) {
  ASSERT_OK_AND_ASSIGN(const YamlNode root, ParseYaml("a: 1\nb:\n  - x\n  - {c: \"2\"}\n", "f"));
  ASSERT_EQ(root.entries.size(), 2u);
  EXPECT_EQ(PlaceOf("f", root.entries[0].value), "f:1:4");
  const YamlNode& list = root.entries[1].value;
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_EQ(PlaceOf("f", list.items[0]), "f:3:5");
  EXPECT_EQ(list.items[1].entries[0].value.text, "2");
}

TEST(YamlTreeTest, JsonIsTaken) {
  ASSERT_OK_AND_ASSIGN(
      const YamlNode root,
      ParseYaml("{\n\t\"a\": {\"b\": [1, 2.5, true, null]},\n\t\"c\": \"x\\/\\u00e9\\\"\"\n}\n", "f"));
  EXPECT_EQ(root.entries[0].value.entries[0].value.items.size(), 4u);
  EXPECT_EQ(root.entries[0].value.entries[0].value.items[3].kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.entries[1].value.text, "x/\xc3\xa9\"");
}

TEST(YamlTreeTest, NestingIsBounded) {
  EXPECT_THAT(Refusal(std::string(100'000, '[')), HasSubstr("nested deeper than 16 levels"));
  EXPECT_THAT(Refusal(std::string(100'000, '{')), HasSubstr("f:1:"));
  std::string blocks;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&blocks, std::string(static_cast<size_t>(i), ' '), "a:\n");
  EXPECT_THAT(Refusal(blocks), HasSubstr("f:17:"));
  std::string dashes;
  for (int i = 0; i < 100'000; ++i) dashes += "- ";
  EXPECT_THAT(Refusal(dashes), HasSubstr("f:1:"));
}

TEST(YamlTreeTest, AliasesAnchorsAndTagsAreRefusedByPlace) {
  EXPECT_EQ(Refusal("a: &x [1]\nb: [*x, *x]\n"), "f:1:4: anchors are not taken here");
  EXPECT_THAT(Refusal("b: *x\n"), HasSubstr("f:1:4: "));
  EXPECT_THAT(Refusal("a: 1\nb: !!python/object:os.system x\n"), HasSubstr("f:2:4: tags are not taken here"));
  std::string bomb = "a0: &a0 [x, x]\n";
  for (int i = 1; i < 40; ++i) absl::StrAppend(&bomb, "a", i, ": &a", i, " [*a", i - 1, ", *a", i - 1, "]\n");
  EXPECT_THAT(Refusal(bomb), HasSubstr("f:1:5: anchors"));
}

TEST(YamlTreeTest, KeysAreTextsAndComeOnce) {
  EXPECT_EQ(Refusal("a: 1\nb: 2\na: 3\n"), "f:3:1: the key a is here twice, first in line 1");
  EXPECT_EQ(Refusal("{\"x\": {\"a\": 1, \"a\": 2}}"), "f:1:16: the key a is here twice, first in line 1");
  EXPECT_THAT(Refusal("? [a]\n: 1\n"), HasSubstr("a key must be a text"));
}

TEST(YamlTreeTest, BytesThatAreNoTextAreRefusedByPlace) {
  EXPECT_EQ(Refusal("a: 1\nb: \xff\n"), "f:2:4: is not UTF-8");
  EXPECT_EQ(Refusal(std::string("a\0:\0", 4)), "f:1:2: holds a control character");
  EXPECT_EQ(Refusal("\xff\xfe"
                    "a"),
            "f:1:1: is not UTF-8");
  EXPECT_EQ(Refusal("a: \x1b[2J"), "f:1:4: holds a control character");
}

TEST(YamlTreeTest, SizesAreBounded) {
  EXPECT_THAT(Refusal(absl::StrCat("a: ", std::string(5000, 'x'))),
              HasSubstr("f:1:4: a value has 5000 bytes"));
  EXPECT_THAT(Refusal(std::string(2 << 20, ' ')), HasSubstr("f:1:1: has 2097152 bytes"));
  std::string many = "[";
  for (int i = 0; i < 30'000; ++i) many += "1,";
  EXPECT_THAT(Refusal(many + "]"), HasSubstr("more than 20000 values"));
}

TEST(YamlTreeTest, BrokenTextsAreRefusedByPlace) {
  for (const char* text : {"a: [1, 2", "a: \"x", "\ta: 1", "a: b: c", "- 1\na: 2", "%YAML 9.9\n---\na: 1",
                           "a: 'x", "@", "`x`", "{a: 1", "[1]]", "a: |\n x\n\t- y", "---\n...\n---\n..."}) {
    EXPECT_THAT(Refusal(text), HasSubstr("f:")) << text;
  }
  EXPECT_EQ(Refusal("a: 1\n---\nb: 2\n"), "f:1:1: holds more than one document");
}

}  // namespace
}  // namespace quantmoe::cli
