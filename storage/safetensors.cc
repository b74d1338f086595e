#include "storage/safetensors.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/lfs_pointer.h"

namespace quantmoe {
namespace {

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's limit

absl::Status Invalid(const std::string& file, absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID", absl::StrCat(file, ": ", what),
                   {{"file", file}});
}

absl::Status InvalidTensor(const std::string& file, absl::string_view tensor, absl::string_view what) {
  const std::string name = absl::Utf8SafeCHexEscape(tensor.substr(0, 200));
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID",
                   absl::StrCat(file, ": tensor ", name, ": ", what), {{"file", file}, {"tensor", name}});
}

// Reads the header as a stream of events: a tree would silently keep the last of two equal names.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  const absl::Status& status() const { return status_; }
  SafetensorsHeader& header() { return header_; }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) return Enter(Place::kTop);
    if (place_ == Place::kTop && name_ == "__metadata__") return Enter(Place::kMetadata);
    if (place_ == Place::kTop) return StartTensor();
    return Unexpected("an object");
  }

  bool end_object() override {
    if (place_ == Place::kTensor && !FinishTensor()) return false;
    return Enter(Place::kTop);
  }

  bool key(std::string& key) override {
    if (place_ == Place::kTop) {
      name_ = key;
      return names_.insert(key).second || Fail("occurs twice");
    }
    field_ = key;
    if (place_ == Place::kMetadata) return !header_.metadata.contains(key) || Fail("has a key twice");
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      return Fail(absl::StrCat("unknown field ", key));
    return fields_.insert(key).second || Fail(absl::StrCat(key, " occurs twice"));
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) return header_.metadata.emplace(field_, value).second;
    if (place_ != Place::kTensor || field_ != "dtype") return Unexpected("a string");
    const absl::StatusOr<DType> dtype = ParseDType(value);
    if (!dtype.ok()) return Fail(dtype.status().message());
    tensor_.dtype = *dtype;
    if (*dtype == DType::kForeign) tensor_.foreign_dtype = value;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || field_ == "dtype") return Unexpected("an array");
    return Enter(Place::kNumbers);
  }

  bool end_array() override { return Enter(Place::kTensor); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kNumbers) return Unexpected("a number");
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<int64_t>::max())) {
      return Fail(absl::StrCat(field_, " holds ", value, ", which is too large"));
    }
    (field_ == "shape" ? tensor_.shape : offsets_).push_back(static_cast<int64_t>(value));
    return true;
  }

  bool number_integer(number_integer_t value) override {
    return Fail(absl::StrCat(field_, " holds ", value, ", which is negative"));
  }
  bool number_float(number_float_t, const std::string& text) override { return Unexpected(text); }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool binary(binary_t&) override { return Unexpected("binary data"); }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    status_ = Invalid(file_, absl::StrCat("the header is not JSON at byte ", position));
    return false;
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kNumbers };

  bool Enter(Place place) {
    place_ = place;
    return true;
  }

  bool Fail(absl::string_view what) {
    status_ = name_.empty() ? Invalid(file_, what) : InvalidTensor(file_, name_, what);
    return false;
  }

  bool Unexpected(absl::string_view what) {
    return Fail(absl::StrCat("the header has ", what, " out of place"));
  }

  bool StartTensor() {
    tensor_ = {};
    tensor_.name = name_;
    offsets_.clear();
    fields_.clear();
    return Enter(Place::kTensor);
  }

  bool FinishTensor() {
    if (fields_.size() != 3) return Fail("dtype, shape or data_offsets is missing");
    if (offsets_.size() != 2) return Fail("data_offsets must be two numbers");
    tensor_.begin = offsets_[0];
    tensor_.end = offsets_[1];
    header_.tensors.push_back(std::move(tensor_));
    return true;
  }

  const std::string& file_;
  absl::Status status_;
  SafetensorsHeader header_;
  Place place_ = Place::kStart;
  absl::flat_hash_set<std::string> names_;
  std::string name_;   // the current key of the top object
  std::string field_;  // the current key inside it
  TensorInfo tensor_;
  std::vector<int64_t> offsets_;
  absl::flat_hash_set<std::string> fields_;
};

absl::Status CheckSize(const TensorInfo& tensor, const std::string& file) {
  int64_t most = 8;  // bytes of an element, which no dtype exceeds
  for (const int64_t extent : tensor.shape) {
    if (__builtin_mul_overflow(most, extent, &most) || most > std::numeric_limits<int64_t>::max() / 8)
      return InvalidTensor(file, tensor.name, "the shape overflows");
  }
  if (tensor.end < tensor.begin) return InvalidTensor(file, tensor.name, "data_offsets go backwards");
  const int64_t bytes = tensor.data_bytes();
  if (tensor.size_bytes() == bytes) return absl::OkStatus();
  return InvalidTensor(
      file, tensor.name,
      absl::StrCat("shape and dtype need ", bytes, " bytes, data_offsets give ", tensor.size_bytes()));
}

// Every byte of the data belongs to exactly one tensor.
absl::Status CheckTiling(const SafetensorsHeader& header, int64_t file_size, const std::string& file) {
  const int64_t data_bytes = file_size - header.data_offset;
  int64_t expected = 0;
  for (const TensorInfo& tensor : header.tensors) {
    RETURN_IF_ERROR(CheckSize(tensor, file));
    if (tensor.begin > expected) {
      return InvalidTensor(file, tensor.name,
                           absl::StrCat("a gap of ", tensor.begin - expected, " bytes before it"));
    }
    if (tensor.begin < expected) return InvalidTensor(file, tensor.name, "overlaps the tensor before it");
    if (tensor.end > data_bytes) {
      return InvalidTensor(
          file, tensor.name,
          absl::StrCat("ends at byte ", tensor.end, " of ", data_bytes, " bytes of data: truncated"));
    }
    expected = tensor.end;
  }
  if (expected == data_bytes) return absl::OkStatus();
  return Invalid(file, absl::StrCat(data_bytes - expected, " bytes after the last tensor"));
}

}  // namespace

absl::StatusOr<int64_t> SafetensorsHeaderBytes(absl::string_view first8, int64_t file_size,
                                               const std::string& file) {
  if (first8.size() < kLengthBytes || file_size < kLengthBytes)
    return Invalid(file, "truncated: no header length");
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<uint64_t>(static_cast<unsigned char>(first8[i])) << (8 * i);
  }
  if (length > kMaxHeaderBytes && MayBeLfsPointer(first8, file_size)) return LfsPointerError(file);
  if (length > kMaxHeaderBytes) {
    return Invalid(file, absl::StrCat("a header of ", length, " bytes; the limit is ", kMaxHeaderBytes));
  }
  const int64_t needed = kLengthBytes + static_cast<int64_t>(length);
  if (needed > file_size) {
    return Invalid(file, absl::StrCat("truncated: the header needs ", needed, " bytes of ", file_size));
  }
  return needed;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view prefix, int64_t file_size,
                                                         const std::string& file) {
  ASSIGN_OR_RETURN(const int64_t needed, SafetensorsHeaderBytes(prefix, file_size, file));
  if (static_cast<int64_t>(prefix.size()) < needed) return Invalid(file, "truncated inside the header");
  const absl::string_view json = prefix.substr(kLengthBytes, static_cast<size_t>(needed - kLengthBytes));
  // The parser would skip white space and a byte order mark.
  if (json.empty() || json.front() != '{') return Invalid(file, "the header does not start with {");
  HeaderReader reader(file);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) return reader.status();
  SafetensorsHeader& header = reader.header();
  header.data_offset = needed;
  std::stable_sort(header.tensors.begin(), header.tensors.end(),
                   [](const TensorInfo& a, const TensorInfo& b) {
                     return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
                   });
  RETURN_IF_ERROR(CheckTiling(header, file_size, file));
  return std::move(header);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(MappedFile file, const std::string& name) {
  SafetensorsFile parsed;
  const absl::string_view bytes = file.bytes();
  ASSIGN_OR_RETURN(parsed.header_, ParseSafetensorsHeader(bytes, static_cast<int64_t>(bytes.size()), name));
  for (size_t i = 0; i < parsed.header_.tensors.size(); ++i)
    parsed.index_[parsed.header_.tensors[i].name] = i;
  parsed.file_ = std::move(file);
  return parsed;
}

const TensorInfo* SafetensorsFile::Find(absl::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

absl::string_view SafetensorsFile::Bytes(const TensorInfo& tensor) const {
  return file_.bytes().substr(static_cast<size_t>(header_.data_offset + tensor.begin),
                              static_cast<size_t>(tensor.size_bytes()));
}

}  // namespace quantmoe
