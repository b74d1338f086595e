#include "plan/allocate/super_experts.h"

#include <algorithm>

#include "plan/allocate/choice_groups.h"

namespace quantmoe {
namespace {

// Peaks of MLPs that had tokens, ascending.
std::vector<double> PeaksOf(const std::vector<StreamStatistics>& streams) {
  std::vector<double> peaks;
  for (const StreamStatistics& stream : streams) {
    for (const double peak : stream.expert_peaks) peaks.push_back(peak);
    peaks.push_back(stream.mlp_peak);
  }
  std::erase(peaks, 0.0);
  std::sort(peaks.begin(), peaks.end());
  return peaks;
}

bool IsDown(LinearKind kind) {
  return kind == LinearKind::kExpertDown || kind == LinearKind::kSharedDown || kind == LinearKind::kDenseDown;
}

}  // namespace

std::vector<SuperExpert> FindSuperExperts(const std::vector<StreamStatistics>& streams) {
  constexpr double kJump = 3, kOfLargest = 0.1, kOfMedian = 20;
  const std::vector<double> peaks = PeaksOf(streams);
  if (peaks.empty()) return {};
  const double enough = std::max(kOfLargest * peaks.back(), kOfMedian * peaks[peaks.size() / 2]);
  std::vector<SuperExpert> found;
  double before = 0;  // the largest norm
  for (const StreamStatistics& stream : streams) {
    const bool makes = stream.massive_tokens > 0 && stream.largest_norm > kJump * before;
    before = stream.largest_norm;
    if (!makes) continue;
    if (stream.mlp_peak > enough) found.push_back({stream.layer, -1, stream.mlp_peak, stream.massive_tokens});
    for (size_t e = 0; e < stream.expert_peaks.size(); ++e) {
      if (stream.expert_peaks[e] <= enough) continue;
      const int64_t routed = e < stream.massive_routed.size() ? stream.massive_routed[e] : 0;
      found.push_back({stream.layer, static_cast<int>(e), stream.expert_peaks[e], routed});
    }
  }
  return found;
}

bool MakesMassive(const Linear& linear, const std::vector<SuperExpert>& experts) {
  if (!IsDown(linear.kind)) return false;
  const int expert = IsExpert(linear.kind) ? linear.expert : -1;
  return std::any_of(experts.begin(), experts.end(), [&](const SuperExpert& found) {
    return found.layer == linear.layer && found.expert == expert;
  });
}

AllowedWidths RaiseSuperExperts(const std::vector<Linear>& linears, const std::vector<SuperExpert>& experts,
                                int width, const RuntimeProfile& profile, AllowedWidths allowed) {
  for (const std::vector<size_t>& group : GroupLinears(linears, profile, Grain::kLinear)) {
    const bool raised =
        std::any_of(group.begin(), group.end(), [&](size_t r) { return MakesMassive(linears[r], experts); });
    if (!raised) continue;
    for (const size_t r : group) {
      const int least = std::min(width, allowed[r].back());
      std::erase_if(allowed[r], [least](int own) { return own < least; });
    }
  }
  return allowed;
}

}  // namespace quantmoe
