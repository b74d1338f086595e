#include "text/decoder.h"

#include "absl/strings/str_join.h"

#include "base/status_macros.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace quantmoe {
namespace {

constexpr char kReplacementCharacter[] = "\xEF\xBF\xBD";

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The byte of a token <0xNN>, or -1.
int ByteOfFallback(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const int high = HexDigit(token[3]);
  const int low = HexDigit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void AppendBytes(std::string& bytes, std::vector<std::string>& out) {
  if (bytes.empty()) return;
  if (IsValidUtf8(bytes)) {
    out.push_back(bytes);
  } else {
    out.insert(out.end(), bytes.size(), kReplacementCharacter);
  }
  bytes.clear();
}

std::string StripToken(const StripDecoding& step, const std::string& token) {
  size_t begin = 0;
  size_t end = token.size();
  size_t i = 0;
  for (int64_t n = 0; n < step.start && begin < end && NextCodePoint(token, i) == step.content; ++n)
    begin = i;
  i = end;
  for (int64_t n = 0; n < step.stop && begin < end && PreviousCodePoint(token, i) == step.content; ++n)
    end = i;
  return token.substr(begin, end - begin);
}

struct Apply {
  std::vector<std::string>& tokens;

  absl::Status operator()(const ByteLevelDecoding&) const {
    std::string bytes;
    for (const auto& token : tokens) bytes += BytesOfToken(token).value_or(token);
    tokens = {ToValidUtf8(bytes)};
    return absl::OkStatus();
  }
  absl::Status operator()(const ByteFallbackDecoding&) const {
    std::vector<std::string> out;
    std::string bytes;
    for (auto& token : tokens) {
      if (const int byte = ByteOfFallback(token); byte >= 0) {
        bytes += static_cast<char>(byte);
      } else {
        AppendBytes(bytes, out);
        out.push_back(std::move(token));
      }
    }
    AppendBytes(bytes, out);
    tokens = std::move(out);
    return absl::OkStatus();
  }
  absl::Status operator()(const FuseDecoding&) const {
    tokens = {absl::StrJoin(tokens, "")};
    return absl::OkStatus();
  }
  absl::Status operator()(const ReplaceDecoding& step) const {
    for (auto& token : tokens) {
      ASSIGN_OR_RETURN(token, step.pattern.ReplaceAll(token, step.content));
    }
    return absl::OkStatus();
  }
  absl::Status operator()(const StripDecoding& step) const {
    for (auto& token : tokens) token = StripToken(step, token);
    return absl::OkStatus();
  }
  absl::Status operator()(const MetaspaceDecoding& step) const {
    for (size_t t = 0; t < tokens.size(); ++t) {
      std::string out;
      for (size_t i = 0; i < tokens[t].size();) {
        const char32_t c = NextCodePoint(tokens[t], i);
        if (c != step.replacement) AppendUtf8(c, out);
        if (c == step.replacement && (t > 0 || step.prepend == PrependScheme::kNever)) out += ' ';
      }
      tokens[t] = std::move(out);
    }
    return absl::OkStatus();
  }
};

}  // namespace

absl::StatusOr<std::string> Decoder::Decode(std::vector<std::string> tokens) const {
  if (absent_) return absl::StrJoin(tokens, " ");
  for (const DecoderStep& step : steps_) RETURN_IF_ERROR(std::visit(Apply{tokens}, step));
  return absl::StrJoin(tokens, "");
}

}  // namespace quantmoe
