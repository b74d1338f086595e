// Model, data set and root URIs: the canonical text of an accepted one is accepted, and stays the same.
#include "sources/data_file.h"
#include "sources/model_uri.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::string_view text = TextOf(data, size);
  (void)ParseDatasetUri(text);
  (void)ParseModelRoot(text);
  if (const absl::StatusOr<DataUri> file = ParseDataUri(text); file.ok()) {
    const absl::StatusOr<DataUri> again = ParseDataUri(file->ToString());
    Require(again.ok() && again->ToString() == file->ToString(), "the canonical text of a file is accepted");
  }
  const absl::StatusOr<ModelUri> uri = ParseModelUri(text);
  if (!uri.ok()) return 0;
  Require(uri->path.find("..") == std::string::npos || uri->path.find("/../") == std::string::npos,
          "no path leaves its place");
  const absl::StatusOr<ModelUri> again = ParseModelUri(uri->ToString());
  Require(again.ok() && again->ToString() == uri->ToString(), "the canonical text is accepted as it is");
  return 0;
}
