#include "quant/text/tokenizer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "quant/text/unicode.h"

namespace quantmoe {

Tokenizer::Tokenizer(TokenizerParts parts, Bpe bpe)
    : normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      bpe_(std::move(bpe)),
      decoder_(std::move(parts.decoder)),
      prefix_ids_(std::move(parts.prefix_ids)),
      suffix_ids_(std::move(parts.suffix_ids)) {}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromFiles(std::string_view tokenizer_json,
                                                                std::string_view config_json) {
  ASSIGN_OR_RETURN(TokenizerParts parts, ReadTokenizerJson(tokenizer_json));
  ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(config_json));
  auto bpe = Bpe::Build(std::move(parts.model));
  if (!bpe.ok()) return InvalidTokenizer(kTokenizerFile, std::string(bpe.status().message()));
  auto added_tokens = std::move(parts.added_tokens);
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(parts), *std::move(bpe)));
  RETURN_IF_ERROR(tokenizer->AddTokens(std::move(added_tokens)));
  RETURN_IF_ERROR(tokenizer->UseConfig(config));
  return tokenizer;
}

absl::Status Tokenizer::AddTokens(std::vector<AddedToken> tokens) {
  vocab_size_ = bpe_.size();
  for (AddedToken& token : tokens) {
    token.id = bpe_.Find(token.content).value_or(token.id);  // the model's vocabulary wins over the list's id
    const bool known = bpe_.Find(token.content).has_value();
    if (token.id < 0 || (!known && bpe_.TokenOf(token.id) != nullptr)) {
      return InvalidTokenizer(kTokenizerFile,
                              absl::StrCat("added token '", token.content, "' has the id ", token.id));
    }
    vocab_size_ = std::max(vocab_size_, token.id + 1);
    added_ids_[token.content] = token.id;
    added_by_id_[token.id] = token;
  }
  for (const auto& [id, token] : added_by_id_) {
    if (token.normalized) {
      normalized_tokens_.Add(token, normalizer_.Normalize(token.content));
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
  if (!id) return InvalidTokenizer(kTokenizerConfigFile, "'" + token + "' is not a token of tokenizer.json");
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

std::vector<int32_t> Tokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  if (!IsAscii(text) && !IsValidUtf8(text)) return Encode(ToValidUtf8(text), add_special_tokens);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 2);
  if (add_special_tokens) ids = prefix_ids_;
  auto scratch = TakeScratch();
  raw_tokens_.Split(text, [&](std::string_view piece, size_t offset, int32_t id) {
    if (id >= 0) return ids.push_back(id);
    EncodePiece(piece, offset == 0, *scratch, ids);
  });
  ReturnScratch(std::move(scratch));
  if (add_special_tokens) ids.insert(ids.end(), suffix_ids_.begin(), suffix_ids_.end());
  return ids;
}

void Tokenizer::EncodePiece(std::string_view piece, bool at_text_start, BpeScratch& scratch,
                            std::vector<int32_t>& ids) const {
  std::string normalized;
  if (!normalizer_.empty()) {
    normalized = normalizer_.Normalize(piece);
    piece = normalized;
  }
  normalized_tokens_.Split(piece, [&](std::string_view part, size_t offset, int32_t id) {
    if (id >= 0) return ids.push_back(id);
    pre_tokenizer_.Split(part, at_text_start && offset == 0,
                         [&](std::string_view word) { bpe_.Encode(word, scratch, ids); });
  });
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
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
  return decoder_.Decode(std::move(tokens));
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
