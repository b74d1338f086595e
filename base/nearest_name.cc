#include "base/nearest_name.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/match.h"

namespace quantmoe {
namespace {

// Longer words are no misspelling of a name of ours.
constexpr size_t kMaxWordBytes = 100;

// Levenshtein distance.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string NearestName(absl::string_view word, const std::vector<std::string>& names) {
  if (word.size() > kMaxWordBytes) return "";
  std::string nearest;
  size_t least = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& name : names) {
    // A name cut short is as near as one with a letter wrong.
    const bool cut = word.size() >= 3 && absl::StartsWith(name, word);
    const size_t distance = cut ? 1 : EditDistance(word, name);
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

}  // namespace quantmoe
