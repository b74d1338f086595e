// How many connections each listener holds, as shares of the descriptors that the process may open. What is
// left, a quarter at the least, is for work: files of blobs and models, the store, fetches.
#pragma once

#include <algorithm>
#include <cstddef>

namespace quantmoe {

struct ConnectionLimits {
  size_t api;
  size_t workers;
  size_t http;
};

inline ConnectionLimits LimitConnections(size_t descriptors) {
  return {.api = std::min<size_t>(descriptors / 4, 4096),
          .workers = std::min<size_t>(descriptors * 3 / 8, 16384),
          .http = std::clamp<size_t>(descriptors / 16, 4, 256)};
}

}  // namespace quantmoe
