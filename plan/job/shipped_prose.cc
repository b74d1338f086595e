#include "plan/job/shipped_prose.h"

// The assembler includes the files: as string literals they would slow the compiler down and exceed its
// limits.
asm(R"(
    .section .rodata
    .global quantmoe_calibration_begin
    .global quantmoe_calibration_end
    .global quantmoe_heldout_begin
    .global quantmoe_heldout_end
quantmoe_calibration_begin:
    .incbin ")" QUANTMOE_PROSE_DIR R"(/calibration.txt"
quantmoe_calibration_end:
quantmoe_heldout_begin:
    .incbin ")" QUANTMOE_PROSE_DIR R"(/heldout.txt"
quantmoe_heldout_end:
    .previous
)");

extern "C" {
extern const char quantmoe_calibration_begin[];
extern const char quantmoe_calibration_end[];
extern const char quantmoe_heldout_begin[];
extern const char quantmoe_heldout_end[];
}

namespace quantmoe {

absl::string_view ShippedCalibrationProse() {
  return {quantmoe_calibration_begin,
          static_cast<size_t>(quantmoe_calibration_end - quantmoe_calibration_begin)};
}

absl::string_view ShippedHeldoutProse() {
  return {quantmoe_heldout_begin, static_cast<size_t>(quantmoe_heldout_end - quantmoe_heldout_begin)};
}

}  // namespace quantmoe
