#include "storage/digest.h"

#include <algorithm>
#include <array>

#include "absl/strings/escaping.h"
#include <openssl/evp.h>

namespace quantmoe {

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  int64_t size_bytes = 0;
};

bool IsSha256(absl::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Digest DigestOf(absl::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

Sha256::Sha256() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr);
}

Sha256::~Sha256() = default;

void Sha256::Update(absl::string_view bytes) {
  EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size());
  state_->size_bytes += static_cast<int64_t>(bytes.size());
}

Digest Sha256::Finish() {
  std::array<unsigned char, 32> raw{};
  EVP_DigestFinal_ex(state_->context.get(), raw.data(), nullptr);
  const absl::string_view view(reinterpret_cast<const char*>(raw.data()), raw.size());
  return {absl::BytesToHexString(view), state_->size_bytes};
}

}  // namespace quantmoe
