#include "server/wire/page_token.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

constexpr size_t kMacBytes = 8;
constexpr size_t kCursorBytes = 8;

std::string Mac(absl::string_view request, int64_t cursor) {
  const std::string digest = DigestOf(absl::StrCat("page/", request, "/", cursor)).sha256;
  return absl::HexStringToBytes(digest.substr(0, 2 * kMacBytes));
}

// The cursor, hidden under a mask that depends on the request and the check value, so that nobody builds on
// it.
std::string Mask(absl::string_view request, absl::string_view mac) {
  const std::string digest = DigestOf(absl::StrCat("mask/", request, "/", mac)).sha256;
  return absl::HexStringToBytes(digest.substr(0, 2 * kCursorBytes));
}

std::string Combine(std::string bytes, const std::string& mask) {
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(bytes[i] ^ mask[i]);
  return bytes;
}

}  // namespace

std::string EncodePageToken(absl::string_view request, int64_t cursor) {
  const std::string mac = Mac(request, cursor);
  std::string bytes(kCursorBytes, '\0');
  for (size_t i = 0; i < kCursorBytes; ++i)
    bytes[i] = static_cast<char>(static_cast<uint64_t>(cursor) >> (8 * i));
  return absl::WebSafeBase64Escape(absl::StrCat(mac, Combine(bytes, Mask(request, mac))));
}

absl::StatusOr<int64_t> DecodePageToken(absl::string_view request, absl::string_view token) {
  if (token.empty()) return 0;
  std::string raw;
  if (absl::WebSafeBase64Unescape(token, &raw) && raw.size() == kMacBytes + kCursorBytes) {
    const std::string mac = raw.substr(0, kMacBytes);
    const std::string bytes = Combine(raw.substr(kMacBytes), Mask(request, mac));
    uint64_t cursor = 0;
    for (size_t i = 0; i < kCursorBytes; ++i) cursor |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
    if (mac == Mac(request, static_cast<int64_t>(cursor))) return static_cast<int64_t>(cursor);
  }
  return InvalidFields({{"page_token", "not a token of this request"}});
}

absl::StatusOr<int> PageSize(int asked, int standard, int maximum) {
  if (asked < 0) return InvalidFields({{"page_size", absl::StrCat("must not be negative: ", asked)}});
  return asked == 0 ? standard : std::min(asked, maximum);
}

}  // namespace quantmoe
