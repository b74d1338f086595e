// Files and the tiny model's tokenizer for the tests of this folder.
#pragma once

#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "quant/text/tokenizer.h"

namespace quantmoe {

inline std::string ReadTestdata(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(std::string(QUANTMOE_TESTDATA "/") + path, std::ios::binary).rdbuf();
  return text.str();
}

inline std::unique_ptr<Tokenizer> TinyTokenizer() {
  auto tokenizer = Tokenizer::FromFiles(ReadTestdata("tiny-qwen2-moe/tokenizer.json"),
                                        ReadTestdata("tiny-qwen2-moe/tokenizer_config.json"));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  return *std::move(tokenizer);
}

}  // namespace quantmoe
