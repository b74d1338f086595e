// Byte-pair encoding of one word: the `model` of a tokenizer.json.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

#include "text/merge_borders.h"

namespace quantmoe {

struct BpeOptions {
  std::vector<std::pair<std::string, int32_t>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // best first
  std::string unknown_token;                                // empty: none, unknown characters vanish
  bool byte_fallback = false;  // an unknown character becomes one <0xNN> token a byte, if all of them exist
  bool fuse_unknown = false;   // neighbouring unknown characters become one unknown token
  bool ignore_merges = false;  // a word that is in the vocabulary is one token, whatever the merges say
  bool byte_level = false;     // vocabulary and merges are written in GPT-2's alphabet; words are raw bytes
  // tiktoken's rule, for byte level: any two neighbours that together are a token merge, the smallest id
  // first.
  bool merges_by_id = false;
};

// Buffers and remembered words of one thread; belongs to one Bpe.
struct BpeScratch {
  struct Symbol {
    int32_t id;
    int32_t previous;
    int32_t next;
    bool alive;
  };
  struct Candidate {
    int32_t rank;
    int32_t position;
    int32_t new_id;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  absl::flat_hash_map<std::string, std::pair<uint32_t, uint32_t>> words;  // offset and count in `word_ids`
  std::vector<int32_t> word_ids;
};

class Bpe {
 public:
  // INVALID_ARGUMENT when a merge, the unknown token or a token of a byte that plain text has is not in the
  // vocabulary, or an id is negative or used twice.
  static absl::StatusOr<Bpe> Build(BpeOptions options);

  // Appends the ids of `word`. Safe for concurrent use with different scratches.
  void Encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;

  // The token as it is written in the file.
  std::optional<int32_t> Find(std::string_view token) const;
  const std::string* TokenOf(int32_t id) const;  // null when there is none
  // One more than the largest id.
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }

 private:
  struct Merge {
    int32_t rank;
    int32_t new_id;
  };

  absl::Status AddVocabulary(std::vector<std::pair<std::string, int32_t>> vocabulary);
  absl::Status AddMerges(const std::vector<std::pair<std::string, std::string>>& merges);
  void AddMergesById();
  absl::Status FindUnknownToken(const std::string& token);
  absl::Status FindByteTokens();
  void FindBorders(const BpeOptions& options);

  void EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;

  void Start(std::string_view word, BpeScratch& scratch) const;
  bool AddFallback(std::string_view character, BpeScratch& scratch) const;
  void MergeAll(BpeScratch& scratch) const;
  void Offer(int32_t left, BpeScratch& scratch) const;
  const Merge* FindMerge(int32_t left_id, int32_t right_id) const;

  bool byte_fallback_ = false;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
  bool byte_level_ = false;
  int32_t unknown_id_ = -1;
  absl::flat_hash_map<std::string, int32_t> ids_;        // as in the file
  absl::flat_hash_map<std::string, int32_t> bytes_ids_;  // byte level only: by raw bytes
  std::vector<std::string> tokens_;                      // by id; empty where there is none
  std::array<int32_t, 256> letter_ids_;                  // byte level only: token of one raw byte, or -1
  std::array<int32_t, 256> fallback_ids_;                // token <0xNN>, or -1
  absl::flat_hash_map<uint64_t, Merge> merges_;
  std::optional<MergeBorders> borders_;  // none where parts of a word could see each other
};

}  // namespace quantmoe
