#include "plan/graph/task_kind.h"

#include "absl/strings/str_cat.h"

namespace quantmoe {

// Every piece is preceded by its length, so that no two different lists read the same.
std::string TaskKey(TaskKind kind, absl::string_view params_json, const std::vector<BlobRef>& inputs,
                    absl::string_view determinism_class) {
  Sha256 hash;
  const auto add = [&hash](absl::string_view piece) {
    hash.Update(absl::StrCat(piece.size(), ":"));
    hash.Update(piece);
  };
  add("quantmoe-task-1");
  add(TaskKindName(kind));
  add(params_json);
  add(determinism_class);
  for (const BlobRef& input : inputs) {
    add(input.role);
    add(input.digest.sha256);
  }
  return hash.Finish().sha256;
}

}  // namespace quantmoe
