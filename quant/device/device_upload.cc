#include "quant/device/device_upload.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace quantmoe {
namespace {

constexpr size_t kRoundsAhead = 2;

c10::Stream ComputeStream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

}  // namespace

DeviceUpload::DeviceUpload(c10::Device device) : device_(device) {
  if (!device.is_cpu()) {
    stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  }
}

at::Tensor DeviceUpload::operator()(const at::Tensor& host) {
  if (!stream_.has_value() || !host.defined() || !host.is_cpu()) return host;
  const c10::DeviceGuard guard(device_);
  const c10::Stream compute = ComputeStream(device_);
  at::Tensor pinned = at::empty(host.sizes(), host.options().pinned_memory(true));
  pinned.copy_(host);
  at::Tensor result;
  c10::Event copied(device_.type());
  {
    const c10::StreamGuard beside(*stream_);
    result = pinned.to(device_, /*non_blocking=*/true);
    copied.record(*stream_);
  }
  copied.block(compute);
  // The memory belongs to the copying stream: it must not be used again while the other one reads it.
  result.record_stream(compute);
  return result;
}

void DeviceUpload::EndRound() {
  if (!stream_.has_value()) return;
  rounds_.emplace_back(device_.type()).record(ComputeStream(device_));
  if (rounds_.size() < kRoundsAhead) return;
  rounds_.front().synchronize();
  rounds_.pop_front();
}

}  // namespace quantmoe
