#include "client/text/plan_diff.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

namespace quantmoe {
namespace {

using Json = nlohmann::json;

Json Plan(int query, int expert, double loss) {
  const auto linear = [](const char* name, const char* kind, int layer, int bits, double own) {
    return Json{{"linear", {{"name", name}, {"kind", kind}, {"layer", layer}, {"out", 64}, {"in", 32}}},
                {"bits", bits},
                {"distortion", own}};
  };
  return {{"heuristic", "optimal"},
          {"objective", "measured"},
          {"average_bits", 0.5 * (query + expert)},
          {"weight_file_bytes", 1000 * (query + expert)},
          {"linears", {linear("a.q", "query", 0, query, loss), linear("b.e", "expert_up", 1, expert, 1.0)}}};
}

// The same as the report has it.
Json Report(const Json& plan) {
  Json report = {
      {"plan", plan}, {"weight_file_bytes", plan["weight_file_bytes"]}, {"linears", Json::array()}};
  report["plan"].erase("linears");
  for (Json item : plan["linears"]) {
    for (const auto& [key, value] : item["linear"].items()) item[key] = value;
    item.erase("linear");
    item["loss"] = item["distortion"];
    item.erase("distortion");
    report["linears"].push_back(item);
  }
  return report;
}

TEST(PlanDiffTest, PlansAndReportsCompare) {
  const auto a = ReadComparedPlan("A", Plan(4, 2, 3.0).dump());
  const auto b = ReadComparedPlan("B", Report(Plan(2, 8, 5.0)).dump());
  ASSERT_TRUE(a.ok() && b.ok()) << b.status();
  const auto text = PlanDiffJson(*a, *b);
  ASSERT_TRUE(text.ok()) << text.status();
  const Json diff = Json::parse(*text);
  EXPECT_EQ(diff["total"]["raised"], 1);
  EXPECT_EQ(diff["total"]["lowered"], 1);
  EXPECT_EQ(diff["total"]["loss"], (Json{4.0, 6.0}));
  EXPECT_EQ(diff["total"]["average_bits"], (Json{3.0, 5.0}));
  EXPECT_EQ(diff["kinds"]["query"]["average_bits"], (Json{4.0, 2.0}));
  EXPECT_EQ(diff["layers"]["1"]["raised"], 1);
  EXPECT_EQ(diff["changes"][0]["bits"], (Json{4, 2}));
  EXPECT_EQ(diff["b"]["weight_file_bytes"], 10000);
  const std::string shown = RenderPlanDiff(*text, /*linears=*/true);
  EXPECT_THAT(shown, testing::HasSubstr("6,000 -> 10,000  (+66.67%)"));
  EXPECT_THAT(shown, testing::HasSubstr("2 of 2 linears"));
  EXPECT_THAT(shown, testing::HasSubstr("a.q"));
}

TEST(PlanDiffTest, WhatDoesNotCompareIsNamed) {
  EXPECT_THAT(std::string(ReadComparedPlan("x.json", "{}").status().message()), testing::HasSubstr("x.json"));
  EXPECT_FALSE(ReadComparedPlan("x.json", "no json").ok());
  const auto a = ReadComparedPlan("A", Plan(4, 2, 3.0).dump());
  Json other = Plan(4, 2, 3.0);
  other["linears"][0]["linear"]["name"] = "a.k";
  EXPECT_THAT(std::string(PlanDiffJson(*a, *ReadComparedPlan("B", other.dump())).status().message()),
              testing::HasSubstr("a.k"));
  Json block = Plan(4, 2, 3.0);
  block["objective"] = "block";
  const auto text = PlanDiffJson(*a, *ReadComparedPlan("B", block.dump()));
  EXPECT_THAT(RenderPlanDiff(*text, false), testing::HasSubstr("not comparable"));
}

}  // namespace
}  // namespace quantmoe
