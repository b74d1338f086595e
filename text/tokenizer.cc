#include "text/tokenizer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "text/tiktoken_model.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

constexpr int32_t kLargestId = 1 << 26;
constexpr size_t kLongestAddedToken = 4096;  // bounds the work at each byte of a text

// Ten times what the slowest known tokenizer needs on a slow machine.
absl::Duration TimeFor(size_t size) { return absl::Seconds(10) + absl::Microseconds(2) * size; }

}  // namespace

Tokenizer::Tokenizer(TokenizerParts parts, Bpe bpe)
    : file_(std::move(parts.file)),
      cuts_(parts.cuts),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      bpe_(std::move(bpe)),
      decoder_(std::move(parts.decoder)),
      prefix_ids_(std::move(parts.prefix_ids)),
      suffix_ids_(std::move(parts.suffix_ids)) {}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromFiles(std::string_view tokenizer_json,
                                                                std::string_view config_json) {
  ASSIGN_OR_RETURN(TokenizerParts parts, ReadTokenizerJson(tokenizer_json));
  ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(config_json));
  NumberAddedTokens(config, parts);
  return FromParts(std::move(parts), config);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromTiktoken(std::string_view tiktoken_model,
                                                                   std::string_view config_json) {
  ASSIGN_OR_RETURN(TokenizerConfig config, ReadTokenizerConfig(config_json));
  ASSIGN_OR_RETURN(TokenizerParts parts, ReadTiktokenModel(tiktoken_model, config));
  return FromParts(std::move(parts), config);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromParts(TokenizerParts parts,
                                                                const TokenizerConfig& config) {
  auto bpe = Bpe::Build(std::move(parts.model));
  if (!bpe.ok()) return InvalidTokenizer(parts.file, std::string(bpe.status().message()));
  auto added_tokens = std::move(parts.added_tokens);
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(parts), *std::move(bpe)));
  RETURN_IF_ERROR(tokenizer->AddTokens(std::move(added_tokens)));
  RETURN_IF_ERROR(tokenizer->UseConfig(config));
  return tokenizer;
}

// What the steps report without knowing the file.
absl::Status Tokenizer::AtLimit(const absl::Status& status) const {
  if (status.ok()) return status;
  return MakeError(absl::StatusCode::kInvalidArgument, "TOKENIZER_LIMIT",
                   absl::StrCat(file_, ": ", status.message()), {{"file", file_}});
}

absl::Status Tokenizer::AddTokens(std::vector<AddedToken> tokens) {
  vocab_size_ = bpe_.size();
  for (AddedToken& token : tokens) {
    if (token.content.size() > kLongestAddedToken) {
      return InvalidTokenizer(file_, absl::StrCat("an added token has ", token.content.size(),
                                                  " bytes; at most ", kLongestAddedToken, " are supported"));
    }
    const auto same_id = added_by_id_.find(token.id);
    const std::string* owner =
        same_id != added_by_id_.end() ? &same_id->second.content : bpe_.TokenOf(token.id);
    if (token.id < 0 || token.id > kLargestId || (owner != nullptr && *owner != token.content)) {
      return InvalidTokenizer(file_, absl::StrCat("added_tokens: '", token.content, "' has the id ", token.id,
                                                  owner == nullptr ? "" : " of '" + *owner + "'"));
    }
    vocab_size_ = std::max(vocab_size_, token.id + 1);
    added_ids_[token.content] = token.id;
    added_by_id_[token.id] = token;
  }
  std::vector<int32_t> ids;
  for (const auto& [id, token] : added_by_id_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());  // of two that look the same, the smaller id
  for (const int32_t id : ids) {
    const AddedToken& token = added_by_id_.at(id);
    if (token.normalized) {
      absl::StatusOr<std::string> pattern = normalizer_.Normalize(token.content);
      if (!pattern.ok()) return AtLimit(pattern.status());
      normalized_tokens_.Add(token, *std::move(pattern));
    } else {
      raw_tokens_.Add(token, token.content);
    }
  }
  raw_tokens_.Finish();
  normalized_tokens_.Finish();
  return absl::OkStatus();
}

absl::StatusOr<std::optional<int32_t>> Tokenizer::FindSpecial(const std::string& token) const {
  if (token.empty()) return std::optional<int32_t>();
  const auto found = added_ids_.find(token);
  const auto id = found != added_ids_.end() ? std::optional(found->second) : bpe_.Find(token);
  if (!id) return InvalidTokenizer(kTokenizerConfigFile, "'" + token + "' is not a token of " + file_);
  return id;
}

absl::Status Tokenizer::UseConfig(const TokenizerConfig& config) {
  ASSIGN_OR_RETURN(bos_id_, FindSpecial(config.bos_token));
  ASSIGN_OR_RETURN(eos_id_, FindSpecial(config.eos_token));
  max_length_ = config.max_length;
  if (config.sets_specials) {
    if ((config.add_bos && !bos_id_) || (config.add_eos && !eos_id_)) {
      return InvalidTokenizer(kTokenizerConfigFile, "add_bos_token or add_eos_token without such a token");
    }
    prefix_ids_ = config.add_bos ? std::vector<int32_t>{*bos_id_} : std::vector<int32_t>{};
    suffix_ids_ = config.add_eos ? std::vector<int32_t>{*eos_id_} : std::vector<int32_t>{};
  }
  if (!bos_id_ && prefix_ids_.size() == 1) bos_id_ = prefix_ids_.front();
  return absl::OkStatus();
}

absl::Status Tokenizer::CheckFits(int64_t vocab) const {
  const auto beyond = [&](const std::string& where, int32_t id) {
    return InvalidTokenizer(file_,
                            absl::StrCat(where, " the id ", id, ", but vocab_size of the model is ", vocab));
  };
  for (int64_t id = vocab; id < bpe_.size(); ++id) {
    const std::string* token = bpe_.TokenOf(static_cast<int32_t>(id));
    if (token != nullptr && !added_by_id_.contains(static_cast<int32_t>(id)))
      return beyond(absl::StrCat("model.vocab gives '", *token, "'"), static_cast<int32_t>(id));
  }
  for (const std::vector<int32_t>* around : {&prefix_ids_, &suffix_ids_}) {
    for (const int32_t id : *around) {
      if (id >= vocab) return beyond("texts get", id);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  if (!IsAscii(text) && !IsValidUtf8(text)) return Encode(ToValidUtf8(text), add_special_tokens);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 2);
  if (add_special_tokens) ids = prefix_ids_;
  auto scratch = TakeScratch();
  const SearchBudget budget(TimeFor(text.size()));
  const absl::Status encoded = EncodePieces(text, *scratch, ids);
  ReturnScratch(std::move(scratch));
  RETURN_IF_ERROR(AtLimit(encoded));
  if (add_special_tokens) ids.insert(ids.end(), suffix_ids_.begin(), suffix_ids_.end());
  return ids;
}

absl::Status Tokenizer::CheckAddBos(std::optional<bool> add_bos) const {
  if (!add_bos.value_or(false) || bos_id_) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "TOKENIZER_HAS_NO_BOS",
                   "add_bos is set, but the tokenizer has no BOS token");
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeText(std::string_view text,
                                                           std::optional<bool> add_bos) const {
  RETURN_IF_ERROR(CheckAddBos(add_bos));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, Encode(text, /*add_special_tokens=*/false));
  if (!add_bos.value_or(adds_bos())) return ids;
  ASSIGN_OR_RETURN(const std::string written, Decode(std::span(&*bos_id_, 1), /*skip_special_tokens=*/false));
  if (written.empty() || !text.starts_with(written)) ids.insert(ids.begin(), *bos_id_);
  return ids;
}

absl::Status Tokenizer::EncodePieces(std::string_view text, BpeScratch& scratch,
                                     std::vector<int32_t>& ids) const {
  absl::Status status;
  raw_tokens_.Split(text, [&](std::string_view piece, size_t, int32_t id) {
    if (id >= 0) return ids.push_back(id);
    CutPieces(piece, cuts_, [&](std::string_view part) {
      if (status.ok()) status = EncodePiece(part, part.data() == text.data(), scratch, ids);
    });
  });
  return status;
}

absl::Status Tokenizer::EncodePiece(std::string_view piece, bool at_text_start, BpeScratch& scratch,
                                    std::vector<int32_t>& ids) const {
  std::string normalized;
  if (!normalizer_.empty()) {
    ASSIGN_OR_RETURN(normalized, normalizer_.Normalize(piece));
    piece = normalized;
  }
  absl::Status status;
  normalized_tokens_.Split(piece, [&](std::string_view part, size_t offset, int32_t id) {
    if (id >= 0) return ids.push_back(id);
    if (!status.ok()) return;
    status = pre_tokenizer_.Split(part, at_text_start && offset == 0,
                                  [&](std::string_view word) { bpe_.Encode(word, scratch, ids); });
  });
  return status;
}

absl::StatusOr<std::string> Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    const auto added = added_by_id_.find(id);
    if (added != added_by_id_.end()) {
      if (!skip_special_tokens || !added->second.special) tokens.push_back(added->second.content);
    } else if (const std::string* token = bpe_.TokenOf(id)) {
      tokens.push_back(*token);
    }
  }
  const SearchBudget budget(TimeFor(ids.size()));
  absl::StatusOr<std::string> text = decoder_.Decode(std::move(tokens));
  if (!text.ok()) return AtLimit(text.status());
  return text;
}

std::unique_ptr<BpeScratch> Tokenizer::TakeScratch() const {
  absl::MutexLock lock(&mutex_);
  if (scratches_.empty()) return std::make_unique<BpeScratch>();
  auto scratch = std::move(scratches_.back());
  scratches_.pop_back();
  return scratch;
}

void Tokenizer::ReturnScratch(std::unique_ptr<BpeScratch> scratch) const {
  absl::MutexLock lock(&mutex_);
  scratches_.push_back(std::move(scratch));
}

}  // namespace quantmoe
