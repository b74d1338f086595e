#include <algorithm>
#include <random>

#include "storage/safetensors.h"
#include "tests/storage/test_files.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

// Lays out the tensors of a file again, from a shuffled list without offsets, and compares with the file's
// own header.
void ExpectSameHeader(const std::string& path) {
  SCOPED_TRACE(path);
  ASSERT_OK_AND_ASSIGN(const MappedFile bytes, MappedFile::Open(path));
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file, SafetensorsFile::Parse(bytes, "f"));
  std::vector<TensorInfo> tensors = file.header().tensors;
  std::shuffle(tensors.begin(), tensors.end(), std::mt19937(7));
  for (TensorInfo& tensor : tensors) tensor.begin = tensor.end = -1;
  const SafetensorsLayout layout = LayOutSafetensors(std::move(tensors), file.header().metadata);
  EXPECT_EQ(layout.header, bytes.bytes().substr(0, static_cast<size_t>(file.header().data_offset)));
  EXPECT_EQ(layout.file_size(), static_cast<int64_t>(bytes.bytes().size()));
}

TEST(SafetensorsLayout, EqualsTheReferenceWriterOnEveryDTypeAndOddNames) {
  ExpectSameHeader(QUANTMOE_STORAGE_TESTDATA "/reference_writer.safetensors");
}

TEST(SafetensorsLayout, EqualsTheReferenceWriterOnModels) {
  for (const char* name : {"qwen2_moe/model", "qwen2_moe/golden", "mixtral-bf16/model", "mixtral/golden"}) {
    ExpectSameHeader(std::string(QUANTMOE_TESTDATA "/goldens/") + name + ".safetensors");
  }
}

TEST(SafetensorsLayout, AlignsTheDataTo8Bytes) {
  for (size_t length = 1; length <= 16; ++length) {
    EXPECT_EQ(SmallSafetensors({std::string(length, 'n')}).size() % 8, 4u);
  }
}

TEST(SafetensorsLayout, WhatIsWrittenIsReadBack) {
  const std::string bytes = SmallSafetensors({"b", "a"}, '\x42');
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file,
                       SafetensorsFile::Parse(MappedFile::FromString(bytes), "f"));
  EXPECT_EQ(file.header().metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_NE(file.Find("a"), nullptr);
  EXPECT_EQ(file.Bytes(*file.Find("a")), "\x42\x42\x42\x42");
  EXPECT_LT(file.Find("a")->begin, file.Find("b")->begin);
  EXPECT_EQ(file.Find("c"), nullptr);
}

TEST(SafetensorsLayout, AFileWithoutTensorsIsValid) {
  const SafetensorsLayout layout = LayOutSafetensors({}, {});
  EXPECT_OK(ParseSafetensorsHeader(layout.header, layout.file_size(), "f"));
}

TEST(SafetensorsLayout, EveryDTypeNameIsReadBack) {
  ASSERT_OK_AND_ASSIGN(const MappedFile bytes,
                       MappedFile::Open(QUANTMOE_STORAGE_TESTDATA "/reference_writer.safetensors"));
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file, SafetensorsFile::Parse(bytes, "f"));
  EXPECT_EQ(file.header().tensors.size(), 4u * 15u);
  for (const TensorInfo& tensor : file.header().tensors) {
    EXPECT_THAT(ParseDType(DTypeName(tensor.dtype)), IsOkAndHolds(tensor.dtype));
  }
}

}  // namespace
}  // namespace quantmoe
