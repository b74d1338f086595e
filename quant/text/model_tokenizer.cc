#include "quant/text/model_tokenizer.h"

#include <string>

#include "base/error_info.h"
#include "base/status_macros.h"

namespace quantmoe {

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(ModelDirectory& directory) {
  absl::StatusOr<std::string> tokenizer = directory.ReadAll("tokenizer.json");
  if (absl::IsNotFound(tokenizer.status())) {
    return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_INVALID",
                     "tokenizer.json is missing from the model directory");
  }
  RETURN_IF_ERROR(tokenizer.status());
  const absl::StatusOr<std::string> config = directory.ReadAll("tokenizer_config.json");
  if (!config.ok() && !absl::IsNotFound(config.status())) return config.status();
  return Tokenizer::FromFiles(*tokenizer, config.ok() ? *config : "");
}

}  // namespace quantmoe
