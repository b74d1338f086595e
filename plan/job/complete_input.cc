#include "plan/job/complete_input.h"

#include <string>
#include <utility>

#include "plan/job/presets.h"
#include "plan/job/shipped_prose.h"

namespace quantmoe {
namespace {

void Fill(Digest& digest, absl::string_view prose) {
  if (digest.sha256.empty()) digest = DigestOf(prose);
}

}  // namespace

std::vector<FieldViolation> CompleteInput(JobSpec& spec) {
  Fill(spec.calibration.text, ShippedCalibrationProse());
  Fill(spec.evaluation.perplexity_text, ShippedHeldoutProse());
  const std::string preset = std::exchange(spec.preset, "");
  return preset.empty() ? std::vector<FieldViolation>() : ApplyPreset(preset, spec);
}

}  // namespace quantmoe
