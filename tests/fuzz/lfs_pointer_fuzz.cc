// A file that git-lfs may have left in place of a large one: whoever sees only its beginning is not surer
// than who sees the whole.
#include "storage/lfs_pointer.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::string_view file = TextOf(data, size);
  if (IsLfsPointer(file)) {
    Require(size < 1024, "a pointer is small");
    Require(MayBeLfsPointer(file.substr(0, 8), static_cast<int64_t>(size)), "a pointer may be one");
  }
  return 0;
}
