// How large a safetensors file gets, without writing its header: for those who ask for many sizes of nearly
// the same file. What is counted here is what LayOutSafetensors writes.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "storage/safetensors.h"

namespace quantmoe {

// The order of tensors in a file: by descending alignment of the dtype, then by name.
bool IsStoredBefore(const TensorInfo& a, const TensorInfo& b);

// Bytes of the tensor's entry in a header, but for the digits of its two offsets.
int64_t EntryBytes(TensorInfo tensor);

// Of a number that is not negative.
int64_t DecimalDigits(int64_t number);

// Sums up one file, whose tensors are added in their order.
class HeaderSize {
 public:
  explicit HeaderSize(const std::map<std::string, std::string>& metadata);
  void Add(int64_t entry_bytes, int64_t data_bytes);
  int64_t data_bytes() const { return end_; }
  int64_t file_size() const;

 private:
  void AddText(int64_t bytes);

  int64_t json_bytes_ = 2;  // the braces
  int64_t end_ = 0;         // of the data so far
  bool empty_ = true;
};

}  // namespace quantmoe
