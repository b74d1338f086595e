#include "base/python_json.h"

#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

namespace quantmoe {
namespace {

TEST(PythonJson, WordsThatJsonHasNotSurviveATree) {
  const std::string text = R"({"a":Infinity,"b":[-Infinity,NaN,1.5e-3],"c":"NaN \"Infinity","d":{"e":NaN}})";
  EXPECT_FALSE(nlohmann::ordered_json::accept(text));
  const auto tree = nlohmann::ordered_json::parse(QuoteNonFinite(text));
  EXPECT_EQ(NonFiniteWord(tree["a"].get<std::string>()), "Infinity");
  EXPECT_EQ(NonFiniteWord(tree["b"][0].get<std::string>()), "-Infinity");
  EXPECT_EQ(NonFiniteWord(tree["d"]["e"].get<std::string>()), "NaN");
  EXPECT_EQ(NonFiniteWord(tree["c"].get<std::string>()), "");
  EXPECT_EQ(UnquoteNonFinite(tree.dump()),
            R"({"a":Infinity,"b":[-Infinity,NaN,0.0015],"c":"NaN \"Infinity","d":{"e":NaN}})");
}

TEST(PythonJson, OtherTextsAreLeftAlone) {
  for (const std::string text :
       {"", "{", "\"", "\"\\", "{\"a\":Infinit}", "{\"a\":xNaN}", "{\"a\":NaN1}", "[--Infinity]"}) {
    EXPECT_EQ(QuoteNonFinite(text), text);
  }
}

}  // namespace
}  // namespace quantmoe
