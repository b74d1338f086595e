#include "text/bpe.h"

#include <algorithm>
#include <cstdio>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

constexpr size_t kLongestRememberedWord = 256;
constexpr size_t kShortWord = 24;  // not worth a search for borders
constexpr size_t kMostRememberedWords = 1 << 17;
constexpr int32_t kLargestId = 1 << 26;  // far beyond any vocabulary; bounds the table by id

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// A heap whose top has the smallest rank, then the leftmost position.
bool ComesLater(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

}  // namespace

absl::StatusOr<Bpe> Bpe::Build(BpeOptions options) {
  Bpe bpe;
  bpe.byte_fallback_ = options.byte_fallback;
  bpe.fuse_unknown_ = options.fuse_unknown;
  bpe.ignore_merges_ = options.ignore_merges;
  bpe.byte_level_ = options.byte_level;
  RETURN_IF_ERROR(bpe.AddVocabulary(std::move(options.vocabulary)));
  RETURN_IF_ERROR(bpe.AddMerges(options.merges));
  if (options.merges_by_id) bpe.AddMergesById();
  RETURN_IF_ERROR(bpe.FindUnknownToken(options.unknown_token));
  RETURN_IF_ERROR(bpe.FindByteTokens());
  bpe.FindBorders(options);
  return bpe;
}

absl::Status Bpe::FindUnknownToken(const std::string& token) {
  if (token.empty()) return absl::OkStatus();
  const auto id = Find(token);
  if (!id) return absl::InvalidArgumentError("model.unk_token '" + token + "' is not in model.vocab");
  unknown_id_ = *id;
  return absl::OkStatus();
}

absl::Status Bpe::AddVocabulary(std::vector<std::pair<std::string, int32_t>> vocabulary) {
  ids_.reserve(vocabulary.size());
  if (byte_level_) bytes_ids_.reserve(vocabulary.size());
  for (auto& [token, id] : vocabulary) {
    if (id < 0 || id >= kLargestId) {
      return absl::InvalidArgumentError(absl::StrCat("model.vocab: '", token, "' has the id ", id));
    }
    if (id >= size()) tokens_.resize(id + 1);
    if (!tokens_[id].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("model.vocab: '", tokens_[id], "' and '", token, "' have the same id ", id));
    }
    if (byte_level_) {
      if (auto bytes = BytesOfToken(token)) bytes_ids_.emplace(*std::move(bytes), id);
    }
    tokens_[id] = token;
    ids_.emplace(std::move(token), id);
  }
  return absl::OkStatus();
}

absl::Status Bpe::AddMerges(const std::vector<std::pair<std::string, std::string>>& merges) {
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto left_id = Find(left);
    const auto right_id = Find(right);
    const auto new_id = Find(left + right);
    if (!left_id || !right_id || !new_id) {
      const std::string& missing = !left_id ? left : !right_id ? right : left + right;
      return absl::InvalidArgumentError(absl::StrCat("model.merges[", rank, "] ('", left, "', '", right,
                                                     "') needs '", missing,
                                                     "', which is not in model.vocab"));
    }
    merges_[PairKey(*left_id, *right_id)] = {static_cast<int32_t>(rank), *new_id};
  }
  return absl::OkStatus();
}

void Bpe::AddMergesById() {
  for (const auto& [bytes, id] : bytes_ids_) {
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      const auto left = bytes_ids_.find(absl::string_view(bytes.data(), cut));
      if (left == bytes_ids_.end()) continue;
      const auto right = bytes_ids_.find(absl::string_view(bytes.data() + cut, bytes.size() - cut));
      if (right != bytes_ids_.end()) merges_[PairKey(left->second, right->second)] = {id, id};
    }
  }
}

// Without an unknown token, a byte without a token vanishes from the text, as in the reference. Published
// vocabularies lack some bytes that hardly occur; one that lacks a byte of plain text cannot be meant.
absl::Status Bpe::FindByteTokens() {
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", b);
    fallback_ids_[b] = Find(name).value_or(-1);
    std::string letter;
    AppendUtf8(kByteAlphabet[b], letter);
    letter_ids_[b] = Find(letter).value_or(-1);
    const bool in_utf8 = b != 0xC0 && b != 0xC1 && b < 0xF5;
    const bool in_plain_text = b == '\n' || (b >= ' ' && b <= '~');
    if (!in_utf8 || unknown_id_ >= 0) continue;
    if (byte_level_ && in_plain_text && letter_ids_[b] < 0) {
      return absl::InvalidArgumentError(absl::StrCat("model.vocab has no token '", letter, "' for the byte ",
                                                     name, " and there is no model.unk_token"));
    }
    if (byte_fallback_ && !byte_level_ && fallback_ids_[b] < 0) {
      return absl::InvalidArgumentError(absl::StrCat("model.byte_fallback needs the token '", name,
                                                     "', which is not in model.vocab, and there is no ",
                                                     "model.unk_token"));
    }
  }
  return absl::OkStatus();
}

void Bpe::FindBorders(const BpeOptions& options) {
  if (byte_level_ || ignore_merges_) return;  // words are short; whole words count
  // Tokens that stand for text they do not spell: merges of these would see across any border.
  absl::flat_hash_set<int32_t> substitutes;
  if (unknown_id_ >= 0) substitutes.insert(unknown_id_);
  if (byte_fallback_) substitutes.insert(fallback_ids_.begin(), fallback_ids_.end());
  for (const auto& [pair, merge] : merges_) {
    if (substitutes.contains(static_cast<int32_t>(pair >> 32)) ||
        substitutes.contains(static_cast<int32_t>(pair)))
      return;
  }
  borders_.emplace();
  borders_->AddMerges(options.merges);
  for (const auto& [token, id] : ids_) {
    size_t end = 0;
    if (token.empty()) continue;
    const char32_t character = NextCodePoint(token, end);
    if (end == token.size()) borders_->AddCharacter(character);
  }
}

std::optional<int32_t> Bpe::Find(std::string_view token) const {
  const auto found = ids_.find(absl::string_view(token.data(), token.size()));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Bpe::TokenOf(int32_t id) const {
  if (id < 0 || id >= size() || tokens_[id].empty()) return nullptr;
  return &tokens_[id];
}

const Bpe::Merge* Bpe::FindMerge(int32_t left_id, int32_t right_id) const {
  const auto found = merges_.find(PairKey(left_id, right_id));
  return found == merges_.end() ? nullptr : &found->second;
}

void Bpe::Encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (!borders_ || word.size() <= kShortWord) return EncodeWord(word, scratch, ids);
  for (size_t begin = 0; begin < word.size();) {
    const size_t end = borders_->NextBorder(word, begin);
    EncodeWord(word.substr(begin, end - begin), scratch, ids);
    begin = end;
  }
}

void Bpe::EncodeWord(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  const absl::string_view key(word.data(), word.size());
  const auto remembered = scratch.words.find(key);
  if (remembered != scratch.words.end()) {
    const auto [offset, count] = remembered->second;
    ids.insert(ids.end(), scratch.word_ids.begin() + offset, scratch.word_ids.begin() + offset + count);
    return;
  }
  const size_t before = ids.size();
  const auto& whole_words = byte_level_ ? bytes_ids_ : ids_;
  const auto whole = ignore_merges_ ? whole_words.find(key) : whole_words.end();
  if (whole != whole_words.end()) {
    ids.push_back(whole->second);
  } else {
    Start(word, scratch);
    MergeAll(scratch);
    for (const auto& symbol : scratch.symbols) {
      if (symbol.alive) ids.push_back(symbol.id);
    }
  }
  if (word.size() > kLongestRememberedWord || scratch.words.size() >= kMostRememberedWords) return;
  scratch.words.emplace(key, std::make_pair(static_cast<uint32_t>(scratch.word_ids.size()),
                                            static_cast<uint32_t>(ids.size() - before)));
  scratch.word_ids.insert(scratch.word_ids.end(), ids.begin() + before, ids.end());
}

// One symbol for each character that has a token. An unknown character waits for the next known one, so that
// its neighbours can join it; bytes of a fallback do not end the waiting, as in the reference implementation.
void Bpe::Start(std::string_view word, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  symbols.clear();
  bool unknown_waits = false;
  const auto add = [&symbols](int32_t id) { symbols.push_back({id, 0, 0, true}); };
  for (size_t i = 0; i < word.size();) {
    const size_t begin = i;
    int32_t id = -1;
    std::string letter;
    std::string_view character;
    if (byte_level_) {
      const auto byte = static_cast<unsigned char>(word[i++]);
      id = letter_ids_[byte];
      if (id < 0) AppendUtf8(kByteAlphabet[byte], letter);
      character = letter;
    } else {
      NextCodePoint(word, i);
      character = word.substr(begin, i - begin);
      id = Find(character).value_or(-1);
    }
    if (id >= 0) {
      if (unknown_waits) add(unknown_id_);
      unknown_waits = false;
      add(id);
    } else if (!AddFallback(character, scratch) && unknown_id_ >= 0) {
      if (unknown_waits && !fuse_unknown_) add(unknown_id_);
      unknown_waits = true;
    }
  }
  if (unknown_waits) add(unknown_id_);
}

bool Bpe::AddFallback(std::string_view character, BpeScratch& scratch) const {
  if (!byte_fallback_) return false;
  for (const char c : character) {
    if (fallback_ids_[static_cast<unsigned char>(c)] < 0) return false;
  }
  for (const char c : character)
    scratch.symbols.push_back({fallback_ids_[static_cast<unsigned char>(c)], 0, 0, true});
  return true;
}

void Bpe::Offer(int32_t left, BpeScratch& scratch) const {
  if (left < 0) return;
  const auto& symbol = scratch.symbols[left];
  if (symbol.next < 0) return;
  const Merge* merge = FindMerge(symbol.id, scratch.symbols[symbol.next].id);
  if (merge == nullptr) return;
  scratch.heap.push_back({merge->rank, left, merge->new_id});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), ComesLater);
}

void Bpe::MergeAll(BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  const auto count = static_cast<int32_t>(symbols.size());
  scratch.heap.clear();
  for (int32_t i = 0; i < count; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < count ? i + 1 : -1;
  }
  for (int32_t i = 0; i < count; ++i) Offer(i, scratch);
  while (!scratch.heap.empty()) {
    const BpeScratch::Candidate best = scratch.heap.front();
    std::pop_heap(scratch.heap.begin(), scratch.heap.end(), ComesLater);
    scratch.heap.pop_back();
    auto& left = symbols[best.position];
    if (!left.alive || left.next < 0) continue;
    auto& right = symbols[left.next];
    // The pair may have changed since it was offered; what counts is that it still gives the same token.
    const Merge* merge = FindMerge(left.id, right.id);
    if (merge == nullptr || merge->new_id != best.new_id) continue;
    left.id = best.new_id;
    left.next = right.next;
    right.alive = false;
    if (left.next >= 0) symbols[left.next].previous = best.position;
    Offer(left.previous, scratch);
    Offer(best.position, scratch);
  }
}

}  // namespace quantmoe
