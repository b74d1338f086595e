// A tokenizer of a model: text to ids and back, with the ids that the reference implementation of
// tokenizer.json gives. Supported: BPE, byte-level (GPT-2, Llama 3, Qwen, DeepSeek, GPT-OSS, OLMoE) and with
// byte fallback (Llama 2, Mixtral, Phi), and tiktoken's form of it (Kimi-K2, Moonlight). What a file asks for
// and this does not know is refused by name. `truncation` and `padding` of the file are not applied: callers
// cut. Immutable; all functions may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

#include "text/tokenizer_json.h"

namespace quantmoe {

class Tokenizer {
 public:
  // `config_json` is the text of tokenizer_config.json, or empty when the model has none.
  // INVALID_ARGUMENT TOKENIZER_UNSUPPORTED {file, component}, TOKENIZER_INVALID {file}.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromFiles(std::string_view tokenizer_json,
                                                              std::string_view config_json);

  // Likewise, with the same errors, of a tiktoken.model; `config_json` has to name a family that
  // tiktoken_model.cc knows.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromTiktoken(std::string_view tiktoken_model,
                                                                 std::string_view config_json);

  // INVALID_ARGUMENT TOKENIZER_INVALID {file} when an id that any text may get, a token of the vocabulary or
  // one that is put around texts, is none of the `vocab` rows of the model's embedding. Added tokens, which
  // only some texts have, may lie beyond it.
  absl::Status CheckFits(int64_t vocab) const;

  // Ill-formed UTF-8 counts as U+FFFD. `add_special_tokens`: BOS and the like, where the files say so.
  // INVALID_ARGUMENT TOKENIZER_LIMIT {file}: an expression or replacement of the file explodes on this text.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special_tokens) const;

  // INVALID_ARGUMENT TOKENIZER_HAS_NO_BOS when BOS is asked for and there is none.
  absl::Status CheckAddBos(std::optional<bool> add_bos) const;
  // A whole text, with BOS in front where `add_bos` or, unset, the tokenizer says so; a text that begins with
  // the written BOS gets no second one. Errors of Encode and CheckAddBos.
  absl::StatusOr<std::vector<int32_t>> EncodeText(std::string_view text, std::optional<bool> add_bos) const;

  // Ids that no token has are left out. Errors of Encode.
  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  std::optional<int32_t> bos_id() const { return bos_id_; }
  std::optional<int32_t> eos_id() const { return eos_id_; }
  // Whether Encode(text, true) begins with BOS.
  bool adds_bos() const { return bos_id_ && !prefix_ids_.empty() && prefix_ids_.front() == *bos_id_; }
  // One more than the largest id; a model's embedding may be larger.
  int vocab_size() const { return vocab_size_; }
  // model_max_length of tokenizer_config.json; none when it sets no limit.
  std::optional<int> max_length() const { return max_length_; }

 private:
  Tokenizer(TokenizerParts parts, Bpe bpe);

  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromParts(TokenizerParts parts,
                                                              const TokenizerConfig& config);

  absl::Status AddTokens(std::vector<AddedToken> tokens);
  absl::Status UseConfig(const TokenizerConfig& config);
  absl::StatusOr<std::optional<int32_t>> FindSpecial(const std::string& token) const;
  absl::Status EncodePieces(std::string_view text, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  absl::Status AtLimit(const absl::Status& status) const;
  absl::Status EncodePiece(std::string_view piece, bool at_text_start, BpeScratch& scratch,
                           std::vector<int32_t>& ids) const;

  std::unique_ptr<BpeScratch> TakeScratch() const;
  void ReturnScratch(std::unique_ptr<BpeScratch> scratch) const;

  // Constant behind FromParts.
  std::string file_;
  TextCuts cuts_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  Bpe bpe_;
  Decoder decoder_;
  AddedTokenFinder raw_tokens_;
  AddedTokenFinder normalized_tokens_;
  absl::flat_hash_map<int32_t, AddedToken> added_by_id_;
  absl::flat_hash_map<std::string, int32_t> added_ids_;
  std::vector<int32_t> prefix_ids_;
  std::vector<int32_t> suffix_ids_;
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
  std::optional<int> max_length_;
  int vocab_size_ = 0;

  // Remembered words, one set for each thread that encodes at the same time.
  mutable absl::Mutex mutex_;
  mutable std::vector<std::unique_ptr<BpeScratch>> scratches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantmoe
