// How models of the Hub are reached: where it is, which secret opens it, and where its files are kept. Set by
// the operator of a process, never by a job.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"

#include "base/clock.h"
#include "base/retry.h"

namespace quantmoe {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  // Plain http:// to hosts that are not loopback. Loopback is always allowed.
  bool allow_plain_http = false;
  // The name of the secret, not the secret: env:NAME (a variable that is not set means no token) or
  // file:PATH.
  std::string token_from = "env:HF_TOKEN";
  std::string cache_dir = "";  // empty: DefaultHubCacheDir()
  int64_t cache_bytes = 0;     // most bytes of files to keep; 0: no limit

  // Tensors that are needed together and lie at most this far apart are fetched with one request.
  int64_t coalesce_gap_bytes = int64_t{64} << 10;
  int attempts = 5;  // without progress
  BackoffOptions backoff = {};
  const Clock* clock = &Clock::Real();             // for a Retry-After that is a date
  std::function<void(absl::Duration)> sleep = {};  // empty: SleepUnlessInterrupted
};

// quantmoe/hub below XDG_CACHE_HOME, or below ~/.cache, or below the folder for temporary files.
std::string DefaultHubCacheDir();

}  // namespace quantmoe
