#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "local/commands.h"
#include "local/model_input.h"

namespace quantmoe {
namespace {

struct TokenizeFlags {
  std::string model, text;
  bool lines = false, decode = false, special_tokens = false;
};

absl::StatusOr<std::string> DecodeList(const Tokenizer& tokenizer, const nlohmann::json& ids) {
  for (const nlohmann::json& id : ids) {
    if (id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < tokenizer.vocab_size())
      continue;
    return InvalidFields({{"--text", absl::StrCat(id.dump(), " is no id of the vocabulary of ",
                                                  tokenizer.vocab_size(), " tokens")}});
  }
  return tokenizer.Decode(ids.get<std::vector<int32_t>>(), /*skip_special_tokens=*/false);
}

absl::Status Decode(const Tokenizer& tokenizer, const std::string& text, bool lines) {
  std::vector<std::string> documents = {text};
  if (lines) documents = absl::StrSplit(text, '\n', absl::SkipEmpty());
  for (const std::string& document : documents) {
    const nlohmann::json ids = ParseJson(document).value_or(nullptr);
    if (!ids.is_array()) return absl::InvalidArgumentError("--text: not a JSON list of ids");
    ASSIGN_OR_RETURN(const std::string decoded, DecodeList(tokenizer, ids));
    std::cout << (lines ? nlohmann::json(decoded).dump() + "\n" : decoded);
  }
  return absl::OkStatus();
}

absl::Status Tokenize(const TokenizeFlags& flags, const ModelSources& models) {
  ASSIGN_OR_RETURN(const std::shared_ptr<ModelDirectory> directory, OpenModelAt(flags.model, models));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(*directory));
  ASSIGN_OR_RETURN(const std::string text, ReadUserFile("--text", flags.text));
  if (flags.decode) return Decode(*tokenizer, text, flags.lines);
  std::vector<std::string> documents = {text};
  if (flags.lines) {
    documents = absl::StrSplit(text, '\n');
    if (documents.back().empty()) documents.pop_back();
  }
  for (const std::string& document : documents) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer->Encode(document, flags.special_tokens));
    std::cout << nlohmann::json(ids).dump() << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

void AddTokenize(cli::Command app, Run& run) {
  cli::Command command = app.AddCommand("tokenize", "Prints the token ids of a text file as JSON.");
  auto flags = std::make_shared<TokenizeFlags>();
  command.Add("--model,model", flags->model, "directory with tokenizer.json or tiktoken.model").Required();
  command.Add("--text", flags->text, "text file, or with --decode a file of JSON lists")
      .Type("FILE")
      .Required();
  command.AddSwitch("--lines", flags->lines, "one list for each line instead of one for the file");
  command.AddSwitch("--decode", flags->decode,
                    "the way back: ids to text (with --lines: one JSON string a line)");
  command.AddSwitch("--special-tokens", flags->special_tokens,
                    "add the special tokens that the tokenizer adds by itself");
  command.OnParsed([&run, flags] {
    run = [flags](const ModelSources& models, const ComputeDevice&) { return Tokenize(*flags, models); };
  });
}

}  // namespace quantmoe
