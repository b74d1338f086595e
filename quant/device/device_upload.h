// Tensors of the host to a device, beside what the device computes.
#pragma once

#include <deque>
#include <optional>

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

namespace quantmoe {

// On the CPU nothing is copied. On a GPU a copy runs on a stream of its own, from pinned memory; what is
// computed with the result waits for it, the host does not. Thread-compatible.
class DeviceUpload {
 public:
  explicit DeviceUpload(c10::Device device);

  // `host` of any shape and dtype on the device; itself when it is there already, or undefined.
  at::Tensor operator()(const at::Tensor& host);

  // Call after each round of copies and computing: waits until the round before the last one is computed, so
  // that no more than two rounds of copies are held.
  void EndRound();

 private:
  const c10::Device device_;
  std::optional<c10::Stream> stream_;
  std::deque<c10::Event> rounds_;
};

}  // namespace quantmoe
