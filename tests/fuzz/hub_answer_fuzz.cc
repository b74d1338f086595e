// What a hub answers, and what is kept of it: lists of files, commits, headers.
#include "sources/hub_answer.h"
#include "storage/digest.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const absl::string_view answer = TextOf(data, size);
  std::vector<HubFile> files;
  if (AppendHubFiles(answer, files).ok()) {
    for (const HubFile& file : files) {
      Require(file.size_bytes >= 0, "a size is one");
      Require(file.large ? IsSha256(file.oid) : file.oid.size() == 40, "a file is named by a digest");
    }
    Require(HubFilesFromJson(HubFilesToJson(files)) == files, "a list that is kept is read the same");
  }
  if (const auto kept = HubFilesFromJson(answer))
    Require(HubFilesFromJson(HubFilesToJson(*kept)) == *kept, "a list that was kept is kept the same");
  if (const auto commit = CommitOfAnswer(answer)) Require(commit->size() == 40, "a commit is one");
  Require(NextPage(answer).size() <= size, "the next page is in the header");
  Require(StrongTag(answer).size() <= size, "a tag is in the header");
  (void)ParseContentRange(answer);
  return 0;
}
