// A safetensors file: every tensor of an accepted header lies inside the file.
#include "storage/safetensors.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const std::string bytes(TextOf(data, size));
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Parse(MappedFile::FromString(bytes), "fuzz");
  if (!file.ok()) return 0;
  unsigned sum = 0;
  for (const TensorInfo& tensor : file->header().tensors) {
    Require(file->Find(tensor.name) != nullptr, "a tensor is found by its name");
    // A dtype that is not known is carried with the bytes that it has; 4 and 6 bits are no whole bytes.
    const int64_t element = DTypeBytes(tensor.dtype);
    Require(element == 0 || tensor.elements() * element == tensor.size_bytes(), "the shape fits the bytes");
    Require(tensor.data_bytes() == tensor.size_bytes(), "a tensor has the bytes that it needs");
    for (const char c : file->Bytes(tensor)) sum += static_cast<unsigned char>(c);
  }
  // Reads every byte under the address sanitizer.
  return sum == 0xffffffffU ? 1 : 0;
}
