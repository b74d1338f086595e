// Checks that the weights of a published artifact or export are what its configuration and its plan say,
// without a tensor library: names, shapes and dtypes, zero points, group indexes and scales.
#pragma once

#include <string>
#include <vector>

namespace quantmoe {

struct WeightProblem {
  std::string file;    // relative to the directory
  std::string tensor;  // or module; empty when it is the file as a whole
  std::string what;

  friend bool operator==(const WeightProblem&, const WeightProblem&) = default;
};

// Everything that is wrong, files first, then modules in the order of the plan. In GPTQ: quantize_config.json
// repeats config.json; `bits` and `dynamic` give the plan's width for each module; qweight, qzeros, scales
// and g_idx have the shapes of that width; zero points are symmetric unless the plan says otherwise, g_idx is
// i / group_size. In compressed-tensors: the same for config_groups, weight_packed, weight_scale and
// weight_shape. In both: scales are finite and not zero, no module is there in two forms, files are as large
// as planned. Any bits are valid codes, so there is nothing to check in qweight itself beside its size.
std::vector<WeightProblem> CheckWeights(const std::string& directory);

}  // namespace quantmoe
