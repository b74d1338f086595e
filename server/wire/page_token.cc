#include "server/wire/page_token.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "base/status_macros.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

constexpr size_t kMacBytes = 8;
constexpr size_t kCursorBytes = 8;

std::string Mac(absl::string_view request, absl::string_view cursor) {
  const std::string digest = DigestOf(absl::StrCat("page/", request, "/", cursor)).sha256;
  return absl::HexStringToBytes(digest.substr(0, 2 * kMacBytes));
}

// Hides the cursor, or shows it again, under a mask that depends on the request and the check value, so that
// nobody builds on it.
std::string Mask(absl::string_view request, absl::string_view mac, std::string bytes) {
  std::string mask;
  while (mask.size() < bytes.size()) {
    const std::string block = absl::StrCat("mask/", request, "/", mac, "/", mask.size());
    absl::StrAppend(&mask, absl::HexStringToBytes(DigestOf(block).sha256));
  }
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(bytes[i] ^ mask[i]);
  return bytes;
}

absl::Status Foreign() { return InvalidFields({{"page_token", "not a token of this request"}}); }

}  // namespace

std::string EncodeTextPageToken(absl::string_view request, absl::string_view cursor) {
  const std::string mac = Mac(request, cursor);
  return absl::WebSafeBase64Escape(absl::StrCat(mac, Mask(request, mac, std::string(cursor))));
}

absl::StatusOr<std::string> DecodeTextPageToken(absl::string_view request, absl::string_view token) {
  if (token.empty()) return std::string();
  std::string raw;
  if (!absl::WebSafeBase64Unescape(token, &raw) || raw.size() < kMacBytes) return Foreign();
  const std::string mac = raw.substr(0, kMacBytes);
  std::string cursor = Mask(request, mac, raw.substr(kMacBytes));
  if (mac != Mac(request, cursor)) return Foreign();
  return cursor;
}

std::string EncodePageToken(absl::string_view request, int64_t cursor) {
  std::string bytes(kCursorBytes, '\0');
  for (size_t i = 0; i < kCursorBytes; ++i)
    bytes[i] = static_cast<char>(static_cast<uint64_t>(cursor) >> (8 * i));
  return EncodeTextPageToken(request, bytes);
}

absl::StatusOr<int64_t> DecodePageToken(absl::string_view request, absl::string_view token) {
  if (token.empty()) return 0;
  ASSIGN_OR_RETURN(const std::string bytes, DecodeTextPageToken(request, token));
  if (bytes.size() != kCursorBytes) return Foreign();
  uint64_t cursor = 0;
  for (size_t i = 0; i < kCursorBytes; ++i) cursor |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  return static_cast<int64_t>(cursor);
}

absl::StatusOr<int> PageSize(int asked, int standard, int maximum) {
  if (asked < 0) return InvalidFields({{"page_size", absl::StrCat("must not be negative: ", asked)}});
  return asked == 0 ? standard : std::min(asked, maximum);
}

}  // namespace quantmoe
