// Opaque page tokens: a cursor, tied to the request that it continues.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quantmoe {

// `request` is the text that must stay the same from page to page (method and filter). Empty for no cursor.
std::string EncodePageToken(absl::string_view request, int64_t cursor);
// 0 for an empty token. INVALID_FIELD (page_token) for a foreign one or another request's.
absl::StatusOr<int64_t> DecodePageToken(absl::string_view request, absl::string_view token);

// The same where the cursor is a text; the token is a third longer, and 11 bytes.
std::string EncodeTextPageToken(absl::string_view request, absl::string_view cursor);
// Empty for an empty token.
absl::StatusOr<std::string> DecodeTextPageToken(absl::string_view request, absl::string_view token);

// 0 means `standard`, larger than `maximum` is cut. INVALID_FIELD (page_size) when negative.
absl::StatusOr<int> PageSize(int asked, int standard, int maximum);

}  // namespace quantmoe
