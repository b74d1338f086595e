// Which grid the weights of a matrix are put on.
#pragma once

#include "plan/options/scale_rule.h"

namespace quantmoe {

struct GridOptions {
  int bits = 4;
  int group_size = 128;
  ScaleRule scales = ScaleRule::kAuto;
};

}  // namespace quantmoe
