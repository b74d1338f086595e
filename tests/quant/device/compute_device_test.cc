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
    const absl::Status status = OpenComputeDevice(text).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument)) << text;
    EXPECT_EQ(GetErrorInfo(status).violations.at(0).field, "--device");
  }
}

TEST(ComputeDeviceTest, TheCpuIsAlwaysThere) {
  ASSERT_OK_AND_ASSIGN(const ComputeDevice device, OpenComputeDevice("cpu"));
  EXPECT_EQ(device.name, "cpu");
  EXPECT_FALSE(device.is_gpu());
  EXPECT_OK(device.Check());
  EXPECT_THAT(DeterminismClass(device), StartsWith("cpu-"));
}

TEST(ComputeDeviceTest, WhatIsMissingForAGpuIsNamed) {
  const absl::Status status = OpenComputeDevice("cuda").status();
  if (status.ok()) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                               AnyOf(HasSubstr("libtorch_cuda.so"), HasSubstr("libquantmoe_cuda.so"),
                                     HasSubstr("driver reports none"))));
  EXPECT_EQ(GetErrorInfo(status).reason, "DEVICE_UNAVAILABLE");
}

TEST(ComputeDeviceTest, AutomaticFindsAGpuOrStaysOnTheCpu) {
  ASSERT_OK_AND_ASSIGN(const ComputeDevice device, OpenComputeDevice("auto"));
  EXPECT_EQ(device.is_gpu(), device.batches());
  EXPECT_THAT(DeterminismClass(device), StartsWith(device.is_gpu() ? "cuda-sm" : "cpu-"));
  EXPECT_OK(device.Check());
}

TEST(ComputeDeviceTest, AnErrorThatStaysBreaksTheDevice) {
  const ComputeDevice device{.device = c10::Device(c10::kCUDA, 0),
                             .name = "H100",
                             .kernels = {nullptr, nullptr, [](int) { return "an illegal memory access"; }},
                             .health = [](int) { return 700; }};
  const absl::Status status = device.Check();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kAborted, HasSubstr("H100: an illegal memory access")));
  EXPECT_EQ(GetErrorInfo(status).reason, "DEVICE_FAILURE");
}

}  // namespace
}  // namespace quantmoe
