#include "plan/model/model_problems.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "plan/model/linears.h"
#include "plan/model/model_files.h"
#include "plan/model/tensor_problems.h"
#include "plan/model/tensor_views.h"

namespace quantmoe {
namespace {

// Packed zero points hold 32 output channels of a 3-bit linear in three words.
std::vector<absl::Status> FindOddWidths(const ModelSpec& spec) {
  std::vector<absl::Status> problems;
  for (const Linear& linear : ListLinears(spec)) {
    if (linear.out % 32 == 0) continue;
    problems.push_back(MakeError(
        absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
        absl::StrCat("the output width ", linear.out, " of ", linear.name, " is not a multiple of 32"),
        {{"tensor", linear.name + ".weight"}}));
  }
  return problems;
}

void Append(std::vector<absl::Status> more, std::vector<absl::Status>& all) {
  std::move(more.begin(), more.end(), std::back_inserter(all));
}

}  // namespace

std::vector<absl::Status> FindModelProblems(const ModelSpec& spec, const Checkpoint& checkpoint) {
  std::vector<absl::Status> problems = FindTensorProblems(spec, checkpoint);
  Append(FindKeptProblems(spec, checkpoint), problems);
  Append(FindOddWidths(spec), problems);
  Append(FindFileProblems(checkpoint.directory()), problems);
  return problems;
}

}  // namespace quantmoe
