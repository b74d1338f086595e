#include "text/normalizer.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>

#include "base/status_macros.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

const icu::Normalizer2* Find(UnicodeForm form) {
  UErrorCode error = U_ZERO_ERROR;
  switch (form) {
    case UnicodeForm::kNfc:
      return icu::Normalizer2::getNFCInstance(error);
    case UnicodeForm::kNfd:
      return icu::Normalizer2::getNFDInstance(error);
    case UnicodeForm::kNfkc:
      return icu::Normalizer2::getNFKCInstance(error);
    case UnicodeForm::kNfkd:
      return icu::Normalizer2::getNFKDInstance(error);
  }
  return nullptr;
}

struct Apply {
  const std::string& text;

  absl::StatusOr<std::string> operator()(UnicodeForm form) const {
    if (IsAscii(text)) return text;  // ASCII is normalized in every form
    std::string out;
    icu::StringByteSink<std::string> sink(&out);
    UErrorCode error = U_ZERO_ERROR;
    Find(form)->normalizeUTF8(0, {text.data(), static_cast<int32_t>(text.size())}, sink, nullptr, error);
    return out;
  }
  absl::StatusOr<std::string> operator()(const PrependStep& step) const {
    return text.empty() ? text : step.text + text;
  }
  absl::StatusOr<std::string> operator()(const ReplaceStep& step) const {
    return step.pattern.ReplaceAll(text, step.content);
  }
  absl::StatusOr<std::string> operator()(const LowercaseStep&) const { return LowercaseEach(text); }
  absl::StatusOr<std::string> operator()(const StripAccentsStep&) const {
    std::string out;
    for (size_t i = 0; i < text.size();) {
      const char32_t c = NextCodePoint(text, i);
      if (!IsMark(c)) AppendUtf8(c, out);
    }
    return out;
  }
  absl::StatusOr<std::string> operator()(const StripSpaceStep& step) const {
    size_t begin = 0;
    size_t end = text.size();
    for (size_t i = 0; step.left && begin < end && IsWhiteSpace(NextCodePoint(text, i)); begin = i) {
    }
    for (size_t i = end; step.right && begin < end && IsWhiteSpace(PreviousCodePoint(text, i)); end = i) {
    }
    return text.substr(begin, end - begin);
  }
};

}  // namespace

absl::StatusOr<std::string> Normalizer::Normalize(std::string_view text) const {
  const size_t largest = text.size() * 64 + (1 << 20);
  std::string current(text);
  for (const NormalizerStep& step : steps_) {
    ASSIGN_OR_RETURN(current, std::visit(Apply{current}, step));
    if (current.size() > largest) {
      return absl::ResourceExhaustedError(
          absl::StrCat("normalizing a text of ", text.size(), " bytes gives more than ", largest, " bytes"));
    }
  }
  return current;
}

}  // namespace quantmoe
