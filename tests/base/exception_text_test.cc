#include "base/exception_text.h"

#include <filesystem>
#include <new>
#include <regex>
#include <stdexcept>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <nlohmann/json.hpp>

namespace quantmoe {
namespace {

template <typename Throws>
std::string TextOf(Throws throws) {
  try {
    throws();
  } catch (const std::exception& error) {
    return ExceptionText(error);
  }
  return "nothing was thrown";
}

TEST(ExceptionText, NumbersAndFunctionsOfLibrariesAreLeftOut) {
  const nlohmann::json json = {{"a", 1}};
  EXPECT_EQ(TextOf([&] { (void)json.at("a").get<std::string>(); }), "type must be string, but is number");
  EXPECT_EQ(TextOf([&] { (void)json.at("b"); }), "key 'b' not found");
  EXPECT_EQ(TextOf([] { (void)std::stoi("x"); }), "a number or an index is malformed or out of range");
  EXPECT_EQ(TextOf([] { (void)std::vector<int>().at(3); }),
            "a number or an index is malformed or out of range");
  EXPECT_EQ(TextOf([] { throw std::bad_alloc(); }), "the memory is exhausted");
  EXPECT_EQ(TextOf([] { throw std::exception(); }), "an unexpected failure");
  EXPECT_EQ(TextOf([] { std::regex("("); }), "a pattern is no regular expression");
  EXPECT_EQ(TextOf([] { (void)std::filesystem::file_size("/nowhere/at/all"); }),
            "/nowhere/at/all: No such file or directory");
  EXPECT_EQ(TextOf([] { throw std::runtime_error("the shape is bad"); }), "the shape is bad");
}

TEST(ExceptionText, IsOneLineOfWholeCharacters) {
  EXPECT_EQ(TextOf([] { throw std::runtime_error("first\nframe #0"); }), "first");
  std::string text;
  while (text.size() < 1000) text += "\u00e4";
  const std::string cut = TextOf([&] { throw std::runtime_error("x" + text); });
  EXPECT_LE(cut.size(), 300u);
  EXPECT_FALSE(nlohmann::json(cut).dump().empty()) << "it would throw for half a character";
}

}  // namespace
}  // namespace quantmoe
