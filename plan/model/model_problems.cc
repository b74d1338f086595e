#include "plan/model/model_problems.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "plan/model/linears.h"
#include "plan/model/model_files.h"
#include "plan/model/tensor_problems.h"
#include "plan/model/tensor_views.h"
#include "text/model_tokenizer.h"

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

// A tokenizer that cannot be read, or has ids that the embedding has no row for.
void AppendTokenizerProblem(const ModelSpec& spec, ModelDirectory& directory,
                            std::vector<absl::Status>& problems) {
  absl::Status status = OpenTokenizer(directory, spec.vocab).status();
  if (!status.ok()) problems.push_back(std::move(status));
}

bool NamesTokenizer(const absl::Status& problem) {
  const auto metadata = GetErrorInfo(problem).metadata;
  const auto file = metadata.find("file");
  return file != metadata.end() && IsTokenizerFile(file->second);
}

void Append(std::vector<absl::Status> more, std::vector<absl::Status>& all) {
  std::move(more.begin(), more.end(), std::back_inserter(all));
}

}  // namespace

std::vector<absl::Status> FindModelProblems(const ModelSpec& spec, const Checkpoint& checkpoint) {
  std::vector<absl::Status> problems = FindTensorProblems(spec, checkpoint);
  Append(FindKeptProblems(spec, checkpoint), problems);
  Append(FindOddWidths(spec), problems);
  std::vector<absl::Status> files = FindFileProblems(checkpoint.directory());
  // What is no tokenizer.json at all would be named a second time.
  if (std::none_of(files.begin(), files.end(), NamesTokenizer))
    AppendTokenizerProblem(spec, checkpoint.directory(), files);
  Append(std::move(files), problems);
  return problems;
}

}  // namespace quantmoe
