// The writing half of storage/safetensors.h, and what both halves know of dtypes.
#include "storage/safetensors_layout.h"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"

namespace quantmoe {
namespace {

struct DTypeFacts {
  DType dtype;
  const char* name;
  int64_t bits;  // 0: unknown
};

// In the order of the reference implementation's enumeration; its writer sorts by it, last first.
constexpr std::array kDTypes = {
    DTypeFacts{DType::kForeign, "a foreign dtype", 0},
    DTypeFacts{DType::kBool, "BOOL", 8},
    DTypeFacts{DType::kF4, "F4", 4},
    DTypeFacts{DType::kF6E2M3, "F6_E2M3", 6},
    DTypeFacts{DType::kF6E3M2, "F6_E3M2", 6},
    DTypeFacts{DType::kU8, "U8", 8},
    DTypeFacts{DType::kI8, "I8", 8},
    DTypeFacts{DType::kF8E5M2, "F8_E5M2", 8},
    DTypeFacts{DType::kF8E4M3, "F8_E4M3", 8},
    DTypeFacts{DType::kF8E8M0, "F8_E8M0", 8},
    DTypeFacts{DType::kF8E4M3Fnuz, "F8_E4M3FNUZ", 8},
    DTypeFacts{DType::kF8E5M2Fnuz, "F8_E5M2FNUZ", 8},
    DTypeFacts{DType::kI16, "I16", 16},
    DTypeFacts{DType::kU16, "U16", 16},
    DTypeFacts{DType::kF16, "F16", 16},
    DTypeFacts{DType::kBF16, "BF16", 16},
    DTypeFacts{DType::kI32, "I32", 32},
    DTypeFacts{DType::kU32, "U32", 32},
    DTypeFacts{DType::kF32, "F32", 32},
    DTypeFacts{DType::kC64, "C64", 64},
    DTypeFacts{DType::kF64, "F64", 64},
    DTypeFacts{DType::kI64, "I64", 64},
    DTypeFacts{DType::kU64, "U64", 64},
};
constexpr size_t kMaxDTypeName = 32;

size_t RankOf(DType dtype) {
  return static_cast<size_t>(std::find_if(kDTypes.begin(), kDTypes.end(),
                                          [&](const DTypeFacts& facts) { return facts.dtype == dtype; }) -
                             kDTypes.begin());
}

std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string RenderMetadata(const std::map<std::string, std::string>& metadata) {
  const auto render = [](std::string* out, const auto& entry) {
    absl::StrAppend(out, Quoted(entry.first), ":", Quoted(entry.second));
  };
  return absl::StrCat("\"__metadata__\":{", absl::StrJoin(metadata, ",", render), "}");
}

std::string RenderTensor(const TensorInfo& tensor) {
  return absl::StrCat(Quoted(tensor.name), ":{\"dtype\":\"", tensor.dtype_name(), "\",\"shape\":[",
                      absl::StrJoin(tensor.shape, ","), "],\"data_offsets\":[", tensor.begin, ",", tensor.end,
                      "]}");
}

// Spaces that fill the JSON of a header up.
template <typename Size>
Size Padding(Size json_bytes) {
  return (8 - json_bytes % 8) % 8;
}

std::string FrameHeader(std::string json) {
  json.append(Padding(json.size()), ' ');
  std::string framed;
  for (int shift = 0; shift < 64; shift += 8)
    framed.push_back(static_cast<char>(json.size() >> shift & 0xff));
  return framed + json;
}

}  // namespace

absl::string_view DTypeName(DType dtype) { return kDTypes[RankOf(dtype)].name; }

int64_t DTypeBytes(DType dtype) {
  const int64_t bits = kDTypes[RankOf(dtype)].bits;
  return bits % 8 == 0 ? bits / 8 : 0;
}

absl::StatusOr<DType> ParseDType(absl::string_view name) {
  for (const DTypeFacts& facts : kDTypes) {
    if (name == facts.name) return facts.dtype;
  }
  const bool is_name =
      !name.empty() && name.size() <= kMaxDTypeName &&
      std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
  if (is_name) return DType::kForeign;
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID",
                   absl::StrCat("\"", absl::Utf8SafeCHexEscape(name.substr(0, kMaxDTypeName)),
                                "\" is no name of a dtype"));
}

int64_t TensorInfo::elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

int64_t TensorInfo::data_bytes() const {
  return dtype == DType::kForeign ? size_bytes() : (elements() * kDTypes[RankOf(dtype)].bits + 7) / 8;
}

absl::string_view TensorInfo::dtype_name() const {
  return dtype == DType::kForeign ? absl::string_view(foreign_dtype) : DTypeName(dtype);
}

int64_t SafetensorsLayout::file_size() const {
  return static_cast<int64_t>(header.size()) + (tensors.empty() ? 0 : tensors.back().end);
}

bool IsStoredBefore(const TensorInfo& a, const TensorInfo& b) {
  const size_t rank_a = RankOf(a.dtype), rank_b = RankOf(b.dtype);
  return rank_a != rank_b ? rank_a > rank_b : a.name < b.name;
}

int64_t EntryBytes(TensorInfo tensor) {
  tensor.begin = tensor.end = 0;
  return static_cast<int64_t>(RenderTensor(tensor).size()) - 2;
}

HeaderSize::HeaderSize(const std::map<std::string, std::string>& metadata) {
  if (!metadata.empty()) AddText(static_cast<int64_t>(RenderMetadata(metadata).size()));
}

void HeaderSize::Add(int64_t entry_bytes, int64_t data_bytes) {
  const int64_t digits = DecimalDigits(end_) + DecimalDigits(end_ + data_bytes);
  AddText(entry_bytes + digits);
  end_ += data_bytes;
}

void HeaderSize::AddText(int64_t bytes) {
  json_bytes_ += bytes + (empty_ ? 0 : 1);  // the comma
  empty_ = false;
}

int64_t HeaderSize::file_size() const { return 8 + json_bytes_ + Padding(json_bytes_) + end_; }

int64_t DecimalDigits(int64_t number) {
  int64_t digits = 1;
  for (; number >= 10; number /= 10) ++digits;
  return digits;
}

SafetensorsLayout LayOutSafetensors(std::vector<TensorInfo> tensors,
                                    std::map<std::string, std::string> metadata) {
  std::sort(tensors.begin(), tensors.end(), IsStoredBefore);
  std::vector<std::string> entries;
  if (!metadata.empty()) entries.push_back(RenderMetadata(metadata));
  int64_t offset = 0;
  for (TensorInfo& tensor : tensors) {
    const int64_t bytes = tensor.data_bytes();
    tensor.begin = offset;
    tensor.end = offset += bytes;
    entries.push_back(RenderTensor(tensor));
  }
  return {FrameHeader(absl::StrCat("{", absl::StrJoin(entries, ","), "}")), std::move(tensors)};
}

}  // namespace quantmoe
