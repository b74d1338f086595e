// The weights of another source, on a device: shapes, dtypes and errors are those of the source.
#pragma once

#include <string>

#include "quant/device/device_upload.h"
#include "quant/model/weights.h"

namespace quantmoe {

class DeviceWeights : public WeightSource {
 public:
  // Both must outlive the object.
  DeviceWeights(WeightSource& source, DeviceUpload& upload) : source_(source), upload_(upload) {}

  absl::StatusOr<at::Tensor> LinearWeight(const Linear& linear) override;
  absl::StatusOr<at::Tensor> LinearBias(const Linear& linear) override;
  absl::StatusOr<at::Tensor> Tensor(const std::string& name) override;

 private:
  WeightSource& source_;
  DeviceUpload& upload_;
};

}  // namespace quantmoe
