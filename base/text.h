// Text that comes from outside (files, exceptions, other programs), made fit to store, to send and to show:
// valid UTF-8, bounded, and unable to forge a line of a log, a command to a terminal or markup. Thread-safe.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace quantmoe {

// Bytes of the UTF-8 character at the front of `text`; 0 when there is none, as in an empty or a damaged
// text.
size_t Utf8CharacterBytes(absl::string_view text);

// The longest prefix of at most `max_bytes` bytes that splits no character.
absl::string_view Utf8Prefix(absl::string_view text, size_t max_bytes);

// The text with U+FFFD for every byte that belongs to no character; protobuf and JSON take nothing else.
std::string ValidUtf8(absl::string_view text);

// ValidUtf8 of at most `max_bytes` bytes. Text that is longer ends with "..." behind a whole character, and
// behind a whole word if one ends near.
std::string CutText(absl::string_view text, size_t max_bytes);

// ValidUtf8 on one line: control characters, separators of lines and directional overrides become visible
// escapes such as \n and \u001b.
std::string OneLine(absl::string_view text);

// The same for text that may have lines of its own: newlines and tabs stay.
std::string PlainLines(absl::string_view text);

// ValidUtf8 for the body and the quoted attributes of an HTML page.
std::string EscapeHtml(absl::string_view text);

}  // namespace quantmoe
