#include "text/model_tokenizer.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "text/tiktoken_model.h"

namespace quantmoe {
namespace {

absl::StatusOr<std::optional<std::string>> ReadIfThere(ModelDirectory& directory, const std::string& file) {
  absl::StatusOr<std::string> text = directory.ReadAll(file);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  RETURN_IF_ERROR(text.status());
  return *std::move(text);
}

// Names what is there instead, since these have a way to become a tokenizer.json.
absl::Status Missing(ModelDirectory& directory) {
  ASSIGN_OR_RETURN(const std::vector<ModelFile> files, directory.List());
  std::vector<std::string> others;
  for (const ModelFile& file : files) {
    if (file.name == "tokenizer.model" || file.name == "vocab.json" || absl::EndsWith(file.name, ".tiktoken"))
      others.push_back(file.name);
  }
  std::string message =
      absl::StrCat(kTokenizerFile, " is missing from the model directory, and so is ", kTiktokenFile);
  if (!others.empty()) {
    absl::StrAppend(&message, "; transformers makes one from ", absl::StrJoin(others, ", "),
                    ": AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)");
  }
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID", message);
}

}  // namespace

bool IsTokenizerFile(absl::string_view name) {
  return name == kTokenizerFile || name == kTiktokenFile || name == kTokenizerConfigFile;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(ModelDirectory& directory) {
  ASSIGN_OR_RETURN(const std::optional<std::string> tokenizer, ReadIfThere(directory, kTokenizerFile));
  std::optional<std::string> tiktoken;
  if (!tokenizer) {
    ASSIGN_OR_RETURN(tiktoken, ReadIfThere(directory, kTiktokenFile));
  }
  if (!tokenizer && !tiktoken) return Missing(directory);
  ASSIGN_OR_RETURN(const std::optional<std::string> config, ReadIfThere(directory, kTokenizerConfigFile));
  return tokenizer ? Tokenizer::FromFiles(*tokenizer, config.value_or(""))
                   : Tokenizer::FromTiktoken(*tiktoken, config.value_or(""));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(ModelDirectory& directory, int64_t vocab) {
  ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(directory));
  RETURN_IF_ERROR(tokenizer->CheckFits(vocab));
  return tokenizer;
}

}  // namespace quantmoe
