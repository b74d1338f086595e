// The thread of the commit loop as a capability that Clang's -Wthread-safety checks
// (tests/check_thread_safety.py). What is OF_LOOP or ON_LOOP cannot be named in a function that does not say
// that it runs there, and what blocks (NEVER_ON_LOOP) cannot be called from one that does.
//
//   void Count() ON_LOOP;                      // callers are on the loop too
//   int count_ OF_LOOP = 0;                    // changed there only
//   loop.Post([this] {
//     loop_thread.AssertHeld();                // where an operation begins: checked as the program runs
//     Count();
//   });
#pragma once

#include "absl/base/thread_annotations.h"

namespace quantmoe {

class ABSL_LOCKABLE LoopThread {
 public:
  // Ends the process when the calling thread has no LoopScope: facts without their thread are data races.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK();
};
// One for all coordinators of the process: it names a role, and each has a thread of its own in it.
inline constexpr LoopThread loop_thread;

#define ON_LOOP ABSL_EXCLUSIVE_LOCKS_REQUIRED(::quantmoe::loop_thread)
#define OF_LOOP ABSL_GUARDED_BY(::quantmoe::loop_thread)
#define NEVER_ON_LOOP ABSL_LOCKS_EXCLUDED(::quantmoe::loop_thread)

// While it lives, the calling thread is that of a commit loop: in the loop itself, before a loop starts, and
// in tests that stand for one.
class ABSL_SCOPED_LOCKABLE LoopScope {
 public:
  LoopScope() ABSL_EXCLUSIVE_LOCK_FUNCTION(loop_thread);
  ~LoopScope() ABSL_UNLOCK_FUNCTION();
  LoopScope(const LoopScope&) = delete;
  LoopScope& operator=(const LoopScope&) = delete;
};

}  // namespace quantmoe
