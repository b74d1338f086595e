// The whole front of a solved model: bytes of the artifact against loss, for every budget at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "plan/allocate/bit_plan.h"
#include "plan/allocate/knapsack.h"
#include "plan/job/job_spec.h"

namespace quantmoe {

struct ParetoPoint {
  int64_t bytes = 0;  // of all weight files
  double average_bits = 0;
  double stored_bits = 0;
  double loss = 0;
  double lower_bound = 0;  // no plan of this budget has less; 0 when none was computed
};

// A plan whose artifact was evaluated.
struct MeasuredPoint {
  std::string name;  // of its job
  std::string heuristic;
  ParetoPoint point;  // loss by this front's table
  double perplexity = 0;
};

struct ParetoFront {
  std::string objective;
  std::string profile;
  std::vector<ParetoPoint> points;   // exact plans of evenly spaced budgets in bytes, ascending
  std::vector<HullPoint> hull;       // corners of the linear relaxation as (bytes, loss), at most 200 of them
  std::vector<ParetoPoint> uniform;  // one width for all, ascending
  std::vector<MeasuredPoint> measured;  // ascending in bytes; filled in by the caller
  double original_perplexity = 0;       // 0: not measured
};

inline constexpr int kMaxParetoPoints = 200;

// `spec` gives profile, rules, objective and widths; its budget and heuristic do not matter. `points` in
// [2, kMaxParetoPoints]. Errors as of Allocate.
absl::StatusOr<ParetoFront> TraceFront(const DistortionTable& table, const JobSpec& spec,
                                       const std::vector<TensorInfo>& kept, int points);

// The point of another plan on this table's scale. INVALID_ARGUMENT when they are not of the same linears.
absl::StatusOr<ParetoPoint> PlacePlan(const DistortionTable& table, const JobSpec& spec, const BitPlan& plan);

std::string ParetoFrontToJson(const ParetoFront& front);

// Drawings: loss on a logarithmic axis over bytes. The SVG needs nothing from the network and follows the
// reader's light or dark theme.
std::string DrawFrontAsText(const ParetoFront& front);
std::string DrawFrontAsSvg(const ParetoFront& front);

}  // namespace quantmoe
