#include "storage/safetensors.h"

#include "absl/strings/str_cat.h"

#include "tests/storage/test_files.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr char kGood[] = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                         R"("b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";

absl::StatusOr<SafetensorsFile> Parse(std::string bytes) {
  return SafetensorsFile::Parse(MappedFile::FromString(std::move(bytes)), "model.safetensors");
}

TEST(Safetensors, ReadsTensorsAndTheirBytes) {
  std::string bytes = RawSafetensors(kGood, 9);
  bytes.back() = 'z';
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file, Parse(bytes));
  ASSERT_EQ(file.header().tensors.size(), 2u);
  const TensorInfo* b = file.Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, DType::kU8);
  EXPECT_EQ(b->elements(), 1);
  EXPECT_EQ(file.Bytes(*b), "z");
}

TEST(Safetensors, OrderIsThatOfTheOffsets) {
  ASSERT_OK_AND_ASSIGN(const SafetensorsFile file,
                       Parse(RawSafetensors(R"({"z":{"data_offsets":[1,2],"shape":[1],"dtype":"U8"},)"
                                            R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                                            2)));
  EXPECT_EQ(file.header().tensors[0].name, "a");
}

TEST(Safetensors, EmptyTensorsMayShareAnOffset) {
  EXPECT_OK(Parse(RawSafetensors(R"({"x":{"dtype":"F32","shape":[2,0],"data_offsets":[0,0]},)"
                                 R"("y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                 R"("z":{"dtype":"F32","shape":[0],"data_offsets":[1,1]}})",
                                 1)));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = RawSafetensors(kGood, 9);
  ASSERT_OK(Parse(whole));
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(Parse(whole.substr(0, length)),
                AllOf(StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model.safetensors")),
                      HasReason("MODEL_INVALID")))
        << length;
  }
}

TEST(Safetensors, BytesAfterTheLastTensorAreRefused) {
  EXPECT_THAT(Parse(RawSafetensors(kGood, 10)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 bytes after the last tensor")));
}

TEST(Safetensors, HeaderLengthsAreLimited) {
  std::string huge(8, '\xff');
  EXPECT_THAT(SafetensorsHeaderBytes(huge, INT64_MAX, "f"), HasReason("MODEL_INVALID"));
  const std::string over("\x01\xe1\xf5\x05\0\0\0\0", 8);  // 100,000,001
  EXPECT_THAT(SafetensorsHeaderBytes(over, INT64_MAX, "f"), HasReason("MODEL_INVALID"));
  const std::string limit("\x00\xe1\xf5\x05\0\0\0\0", 8);
  EXPECT_THAT(SafetensorsHeaderBytes(limit, INT64_MAX, "f"), IsOkAndHolds(100'000'008));
  EXPECT_THAT(SafetensorsHeaderBytes(limit, 100'000'007, "f"), HasReason("MODEL_INVALID"));
}

struct Lie {
  const char* json;
  size_t data_bytes;
  const char* message;
};

TEST(Safetensors, EveryLieIsRefusedWithFileAndReason) {
  const Lie lies[] = {
      {R"([1])", 0, "does not start with {"},
      {R"( {})", 0, "does not start with {"},
      {R"({"a")", 0, "not JSON"},
      {R"({} x)", 0, "not JSON"},
      {"{\"\xff\":{}}", 0, "not JSON"},
      {R"({"a":1})", 0, "tensor a: the header has a number"},
      {R"({"a":null})", 0, "tensor a: the header has null"},
      {R"({"a":[]})", 0, "tensor a: the header has an array"},
      {R"({"a":{}})", 0, "tensor a: dtype, shape or data_offsets is missing"},
      {R"({"a":{"dtype":"U8","shape":[1]}})", 1, "missing"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "must be two numbers"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1, "must be two numbers"},
      {R"({"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})", 1, "a number out of place"},
      {R"({"a":{"dtype":["U8"],"shape":[1],"data_offsets":[0,1]}})", 1, "an array out of place"},
      {R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1, "an array out of place"},
      {R"({"a":{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}})", 1, "an object out of place"},
      {R"({"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}})", 1, "a string out of place"},
      {R"({"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", 1, "1.5 out of place"},
      {R"({"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}})", 1, "a boolean out of place"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "dtype occurs twice"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1, "unknown field x"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "tensor a: occurs twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "__metadata__: occurs twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", 0, "key twice"},
      {R"({"__metadata__":{"k":1}})", 0, "a number out of place"},
      {R"({"__metadata__":{"k":{}}})", 0, "an object out of place"},
      {R"({"__metadata__":"pt"})", 0, "a string out of place"},
      {R"({"a":{"dtype":"F 3","shape":[1],"data_offsets":[0,4]}})", 4, "\"F 3\" is no name of a dtype"},
      {R"({"a":{"dtype":"","shape":[1],"data_offsets":[0,4]}})", 4, "is no name of a dtype"},
      {R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[4,0]}})", 4, "go backwards"},
      {R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,4]}})", 4, "need 2 bytes, data_offsets give 4"},
      {R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1,
       "tensor a: shape holds -1, which is negative"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}})", 1, "data_offsets holds -1"},
      {R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}})", 1, "too large"},
      {R"({"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}})", 1, "out of place"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0,
       "the shape overflows"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "need 8 bytes, data_offsets give 4"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "go backwards"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2, "tensor a: a gap of 1 bytes"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
       3, "tensor b: a gap of 1 bytes"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "tensor b: overlaps"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
       2, "tensor b: overlaps"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 3, "tensor a: ends at byte 4 of 3"},
  };
  for (const Lie& lie : lies) {
    EXPECT_THAT(Parse(RawSafetensors(lie.json, lie.data_bytes)),
                AllOf(StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr("model.safetensors: "), HasSubstr(lie.message))),
                      HasReason("MODEL_INVALID")))
        << lie.json;
  }
}

TEST(Safetensors, EveryDtypeKeepsItsNameAndItsBytes) {
  const struct {
    const char* name;
    int64_t bytes;  // of 4 elements
  } dtypes[] = {{"BOOL", 4}, {"F4", 2},   {"F6_E2M3", 3}, {"F8_E8M0", 4},  {"F8_E4M3FNUZ", 4},
                {"U16", 8},  {"C64", 32}, {"F64", 32},    {"MARTIAN_7", 5}};
  for (const auto& dtype : dtypes) {
    const std::string bytes = absl::StrCat(dtype.bytes);
    ASSERT_OK_AND_ASSIGN(
        const SafetensorsFile file,
        Parse(RawSafetensors(absl::StrCat(R"({"a":{"dtype":")", dtype.name,
                                          R"(","shape":[4],"data_offsets":[0,)", bytes, "]}}"),
                             static_cast<size_t>(dtype.bytes))));
    const TensorInfo& tensor = file.header().tensors[0];
    EXPECT_EQ(tensor.dtype_name(), dtype.name);
    EXPECT_EQ(tensor.data_bytes(), dtype.bytes) << dtype.name;
    const SafetensorsLayout layout = LayOutSafetensors({tensor}, {});
    EXPECT_THAT(layout.header, HasSubstr(absl::StrCat("\"dtype\":\"", dtype.name, "\"")));
    EXPECT_EQ(layout.tensors[0].size_bytes(), dtype.bytes);
  }
}

TEST(Safetensors, AnLfsPointerIsNamedAsOne) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
  EXPECT_THAT(Parse(pointer), AllOf(StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("git lfs pull")),
                                    HasReason("MODEL_INVALID")));
}

TEST(Safetensors, MessagesAreValidTextWhateverTheName) {
  const auto parsed = Parse(RawSafetensors(R"({"a\u0001_":{}})", 0));
  EXPECT_THAT(parsed, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a\\x01_")));
  EXPECT_EQ(GetErrorInfo(parsed.status()).metadata.at("file"), "model.safetensors");
}

}  // namespace
}  // namespace quantmoe
