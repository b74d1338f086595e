// What tests/check_thread_safety.py must find; no target compiles it.
#include <functional>

#include "server/facts/loop_thread.h"

namespace quantmoe {

class Counter {
 public:
  void Count() ON_LOOP { ++count_; }
  void Read() NEVER_ON_LOOP {}
  int WithoutSayingSo() const {
    // expected-error@+1 {{reading variable 'count_' requires holding}}
    return count_;
  }

 private:
  int count_ OF_LOOP = 0;
};

struct Parts {
  Counter& counter OF_LOOP;
};

void Elsewhere(Counter& counter) {
  // expected-error@+1 {{requires holding mutex 'loop_thread'}}
  counter.Count();
}

void ThroughAReference(const Parts& parts) {
  // expected-error@+1 {{requires holding mutex 'loop_thread'}}
  (void)parts.counter.WithoutSayingSo();
}

void Blocks(Counter& counter) ON_LOOP {
  // expected-error@+1 {{cannot call function 'Read' while mutex 'loop_thread' is held}}
  counter.Read();
}

// An operation has to say that it is one, whoever makes it.
std::function<void()> MakeOperation(Counter& counter) ON_LOOP {
  // expected-error@+1 {{requires holding mutex 'loop_thread'}}
  return [&counter] { counter.Count(); };
}

std::function<void()> MakeOperationThatSaysSo(Counter& counter) {
  return [&counter] {
    loop_thread.AssertHeld();
    counter.Count();
  };
}

void BeforeALoop(Counter& counter) {
  const LoopScope scope;
  counter.Count();
}

}  // namespace quantmoe
