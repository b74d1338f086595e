#include "quant/device/compute_device.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/error_info.h"
#include "quant/tasks/run_task.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ComputeDeviceTest, OtherTextsAreRefused) {
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"}) {
    const absl::Status status = ChooseComputeDevice(text);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument)) << text;
    EXPECT_EQ(GetErrorInfo(status).violations.at(0).field, "--device");
  }
  EXPECT_FALSE(CurrentComputeDevice().is_gpu());
}

TEST(ComputeDeviceTest, TheCpuIsAlwaysThere) {
  EXPECT_OK(ChooseComputeDevice("cpu"));
  EXPECT_EQ(CurrentComputeDevice().name, "cpu");
  EXPECT_OK(CheckComputeDevice());
  EXPECT_THAT(DeterminismClass(), StartsWith("cpu-"));
}

TEST(ComputeDeviceTest, WhatIsMissingForAGpuIsNamed) {
  const absl::Status status = ChooseComputeDevice("cuda");
  if (status.ok()) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                               AnyOf(HasSubstr("libtorch_cuda.so"), HasSubstr("libquantmoe_cuda.so"),
                                     HasSubstr("driver reports none"))));
  EXPECT_EQ(GetErrorInfo(status).reason, "DEVICE_UNAVAILABLE");
  EXPECT_FALSE(CurrentComputeDevice().is_gpu());
}

TEST(ComputeDeviceTest, AutomaticFindsAGpuOrStaysOnTheCpu) {
  EXPECT_OK(ChooseComputeDevice("auto"));
  const ComputeDevice& device = CurrentComputeDevice();
  EXPECT_EQ(device.is_gpu(), device.batches());
  EXPECT_THAT(DeterminismClass(), StartsWith(device.is_gpu() ? "cuda-sm" : "cpu-"));
  EXPECT_OK(CheckComputeDevice());
}

TEST(ComputeDeviceTest, AnErrorThatStaysBreaksTheDevice) {
  UseComputeDevice({.device = c10::Device(c10::kCUDA, 0),
                    .name = "H100",
                    .kernels = {nullptr, nullptr, [](int) { return "an illegal memory access"; }},
                    .health = [](int) { return 700; }});
  const absl::Status status = CheckComputeDevice();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kAborted, HasSubstr("H100: an illegal memory access")));
  EXPECT_EQ(GetErrorInfo(status).reason, "DEVICE_FAILURE");
  UseComputeDevice({});
}

}  // namespace
}  // namespace quantmoe
