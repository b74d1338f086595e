#include "plan/graph/task_kind.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "plan/model/json_codec.h"

namespace quantmoe {
namespace {

constexpr std::array<absl::string_view, 11> kKindNames = {"prepare",  "forward",  "solve",  "probe",
                                                          "predict",  "allocate", "refine", "resolve",
                                                          "assemble", "evaluate", "publish"};

}  // namespace

absl::string_view TaskKindName(TaskKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

const std::vector<TaskKind>& AllTaskKinds() {
  static const auto* const kAll = [] {
    auto* all = new std::vector<TaskKind>();
    for (size_t i = 0; i < kKindNames.size(); ++i) all->push_back(static_cast<TaskKind>(i));
    return all;
  }();
  return *kAll;
}

absl::StatusOr<TaskKind> ParseTaskKind(absl::string_view name) {
  for (size_t i = 0; i < kKindNames.size(); ++i) {
    if (kKindNames[i] == name) return static_cast<TaskKind>(i);
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown kind of task: ", name));
}

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
