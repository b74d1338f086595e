#include "server/facts/loop_thread.h"

#include <cstdlib>

#include "base/log.h"

namespace quantmoe {
namespace {

thread_local int scopes = 0;

}  // namespace

void LoopThread::AssertHeld() const {
  if (scopes > 0) return;
  Log(LogLevel::kError, "facts were about to be used beside the commit loop's thread; the process ends");
  std::abort();
}

LoopScope::LoopScope() ABSL_NO_THREAD_SAFETY_ANALYSIS { ++scopes; }
LoopScope::~LoopScope() ABSL_NO_THREAD_SAFETY_ANALYSIS { --scopes; }

}  // namespace quantmoe
