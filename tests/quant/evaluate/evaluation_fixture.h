// Files and the tiny model's tokenizer for the tests of this folder.
#pragma once

#include <memory>

#include <gtest/gtest.h>

#include "tests/support/goldens.h"
#include "text/tokenizer.h"

namespace quantmoe {

inline std::unique_ptr<Tokenizer> TinyTokenizer() {
  auto tokenizer = Tokenizer::FromFiles(ReadTestdata("tiny-qwen2-moe/tokenizer.json"),
                                        ReadTestdata("tiny-qwen2-moe/tokenizer_config.json"));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  return *std::move(tokenizer);
}

}  // namespace quantmoe
