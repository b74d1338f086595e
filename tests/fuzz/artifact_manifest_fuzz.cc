// artifact.json, by which a folder may be emptied: no path of an accepted one leaves the folder.
#include "storage/artifact_manifest.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::StatusOr<std::vector<ArtifactFile>> files = ParseArtifactManifest(TextOf(data, size));
  if (!files.ok()) return 0;
  for (const ArtifactFile& file : *files) {
    Require(!file.path.empty() && file.path.front() != '/', "a path is relative");
    Require(file.path.find('\0') == std::string::npos, "a path is whole");
    const std::string path = "/" + file.path + "/";
    Require(path.find("/../") == std::string::npos && path.find("//") == std::string::npos,
            "a path stays in the folder");
  }
  return 0;
}
