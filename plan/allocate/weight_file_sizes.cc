#include "plan/allocate/weight_file_sizes.h"

#include <algorithm>

#include "nlohmann/json.hpp"
#include "plan/allocate/artifact_size.h"
#include "plan/allocate/weight_file_layout.h"
#include "storage/safetensors_layout.h"

namespace quantmoe {
namespace {

int64_t QuotedBytes(const std::string& text) {
  return static_cast<int64_t>(
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).size());
}

// Of an entry `    "tensor": "file",` of the index and its end of line, less what stands for the file.
int64_t IndexEntryBytes(const std::string& tensor) { return QuotedBytes(tensor) + 8; }

// Everything of the index but its entries: without any, and two line ends, an indent and the file's last line
// end, less the comma that the last entry lacks.
int64_t IndexFrameBytes(int64_t total_bytes) {
  const nlohmann::json index = {{"metadata", {{"total_size", total_bytes}}},
                                {"weight_map", nlohmann::json::object()}};
  return static_cast<int64_t>(index.dump(2).size()) + 3;
}

int64_t ShapeBytes(const std::vector<int64_t>& shape) {
  int64_t bytes = shape.empty() ? 0 : static_cast<int64_t>(shape.size()) - 1;
  for (const int64_t extent : shape) bytes += DecimalDigits(extent);
  return bytes;
}

}  // namespace

WeightFileSizes::WeightFileSizes(const std::vector<Linear>& linears, const std::vector<TensorInfo>& kept,
                                 int group_size)
    : linears_(linears), group_size_(group_size) {
  // Any width gives the names, the dtypes and their order.
  const auto packed = [=](const Linear& linear) { return PackedTensors(linear, /*width=*/2, group_size); };
  std::vector<std::pair<TensorInfo, Tensor>> tensors;
  for (StorageUnit& unit : MakeStorageUnits(linears, kept, packed)) {
    const size_t linear = unit.linear == nullptr ? kNone : static_cast<size_t>(unit.linear - linears.data());
    units_.push_back({0, linear});
    const size_t parts = linear == kNone ? 0 : packed(*unit.linear).size();
    for (size_t i = 0; i < unit.tensors.size(); ++i) {
      const Tensor tensor = Count(unit.tensors[i], i < parts ? i : kNone);
      if (tensor.part == kNone) units_.back().kept_bytes += tensor.data_bytes;
      tensors.emplace_back(std::move(unit.tensors[i]), tensor);
    }
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return IsStoredBefore(a.first, b.first); });
  for (const auto& [info, tensor] : tensors) tensors_.push_back(tensor);
}

// Of the newest unit.
WeightFileSizes::Tensor WeightFileSizes::Count(const TensorInfo& info, size_t part) const {
  const int64_t shape = part == kNone ? 0 : ShapeBytes(info.shape);
  return {units_.size() - 1, part, info.data_bytes(), EntryBytes(info) - shape, IndexEntryBytes(info.name)};
}

WeightFileSizes::PackedSizes WeightFileSizes::SizePacked(const Linear& linear, int width) const {
  PackedSizes sizes;
  for (const TensorInfo& tensor : PackedTensors(linear, width, group_size_)) {
    sizes.push_back({tensor.data_bytes(), ShapeBytes(tensor.shape)});
  }
  return sizes;
}

std::vector<size_t> WeightFileSizes::AssignFiles(const std::vector<const PackedSizes*>& packed) const {
  FileFiller filler(kMaxWeightFileBytes);
  std::vector<size_t> file_of;
  file_of.reserve(units_.size());
  for (const Unit& unit : units_) {
    int64_t bytes = unit.kept_bytes;
    if (unit.linear != kNone) {
      for (const PackedSize& size : *packed[unit.linear]) bytes += size.data_bytes;
    }
    file_of.push_back(filler.Place(bytes));
  }
  return file_of;
}

int64_t WeightFileSizes::Bytes(const std::vector<int>& widths) const {
  // The same shapes come again and again.
  std::map<std::tuple<int64_t, int64_t, int>, PackedSizes> shapes;
  std::vector<const PackedSizes*> packed;
  for (size_t i = 0; i < linears_.size(); ++i) {
    PackedSizes& sizes = shapes[{linears_[i].out, linears_[i].in, widths[i]}];
    if (sizes.empty()) sizes = SizePacked(linears_[i], widths[i]);
    packed.push_back(&sizes);
  }
  const std::vector<size_t> file_of = AssignFiles(packed);
  const size_t count = file_of.empty() ? 1 : file_of.back() + 1;
  std::vector<HeaderSize> files(count, HeaderSize(WeightFileMetadata()));
  std::vector<int64_t> name_bytes;
  for (size_t i = 0; i < count; ++i) name_bytes.push_back(QuotedBytes(WeightFileName(i, count)));

  int64_t index_bytes = 0;
  for (const Tensor& tensor : tensors_) {
    const size_t file = file_of[tensor.unit];
    index_bytes += tensor.index_bytes + name_bytes[file];
    if (tensor.part == kNone) {
      files[file].Add(tensor.entry_bytes, tensor.data_bytes);
    } else {
      const PackedSize& size = (*packed[units_[tensor.unit].linear])[tensor.part];
      files[file].Add(tensor.entry_bytes + size.shape_bytes, size.data_bytes);
    }
  }
  int64_t bytes = 0, data_bytes = 0;
  for (const HeaderSize& file : files) {
    bytes += file.file_size();
    data_bytes += file.data_bytes();
  }
  return count == 1 ? bytes : bytes + index_bytes + IndexFrameBytes(data_bytes);
}

}  // namespace quantmoe
