// The version of the protocol between coordinator and workers (quantmoe/v1/worker.proto), which both sides
// know.
#pragma once

namespace quantmoe {

// A worker of another one is refused.
inline constexpr int kWorkerApiVersion = 1;

}  // namespace quantmoe
