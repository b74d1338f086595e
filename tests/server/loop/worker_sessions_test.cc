// Leases by the times at which messages arrive, whatever happens to the loop that looks at them.
#include "server/loop/worker_sessions.h"

#include <gtest/gtest.h>

#include "tests/server/loop/loop_parts.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

class FakeLink : public WorkerLink {
 public:
  explicit FakeLink(const Clock& clock) : clock_(clock), heard_at_(clock.Monotonic()) {}
  void Send(v1::CoordinatorMessage) override {}
  void Close(const absl::Status&) override { closed_ = true; }
  absl::Duration heard_at() const override { return heard_at_; }

  // A message comes, and waits to be looked at.
  void Arrive() { heard_at_ = clock_.Monotonic(); }
  bool closed() const { return closed_; }

 private:
  const Clock& clock_;
  absl::Duration heard_at_;
  bool closed_ = false;
};

// The parts of a coordinator without its threads: the test is the loop.
class WorkerSessionsTest : public testing::Test, protected LoopParts {
 protected:
  WorkerSessionsTest() {
    EXPECT_OK(facts_.Reload());
    sessions_.Tick();
  }

  std::shared_ptr<FakeLink> Connect(const std::string& id) {
    v1::Hello hello;
    hello.set_worker_id(id);
    hello.set_determinism_class("c");
    auto link = std::make_shared<FakeLink>(clock_);
    sessions_.Hello(hello, link);
    return link;
  }
  bool IsKnown(const std::string& id) const { return links_.table().contains(id); }
  // More ticks than a coordinator that stood still waits for.
  void TickOften() {
    for (int i = 0; i < 10; ++i) sessions_.Tick();
  }

  const LoopScope on_loop_;
  SchedulingLimits limits_;
  TaskAttempts attempts_{facts_, jobs_, links_, metrics_, clock_, limits_, /*term=*/1};
  WorkerSessions sessions_{WorkerSessions::Options(), facts_, jobs_, attempts_, links_, metrics_, clock_};
};

TEST_F(WorkerSessionsTest, ASilentWorkerIsLostAfterALease) {
  Connect("w");
  clock_.Advance(limits_.lease);
  TickOften();
  EXPECT_FALSE(IsKnown("w"));
}

TEST_F(WorkerSessionsTest, AHeartbeatCountsFromItsArrivalEvenIfNobodyHasLookedAtItYet) {
  const auto link = Connect("w");
  clock_.Advance(0.4 * limits_.lease);
  sessions_.Tick();
  link->Arrive();
  for (int i = 0; i < 2; ++i) {
    clock_.Advance(0.4 * limits_.lease);
    sessions_.Tick();
  }
  EXPECT_TRUE(IsKnown("w")) << "0.8 of a lease after its last word";
  EXPECT_FALSE(link->closed());
  clock_.Advance(0.4 * limits_.lease);
  sessions_.Tick();
  EXPECT_FALSE(IsKnown("w"));
}

TEST_F(WorkerSessionsTest, ACoordinatorThatStoodStillTakesInWhatCameBeforeItJudges) {
  const auto link = Connect("w");
  clock_.Advance(10 * limits_.lease);
  sessions_.Tick();  // the reactions of gRPC have not run yet
  EXPECT_TRUE(IsKnown("w"));
  link->Arrive();
  TickOften();
  EXPECT_TRUE(IsKnown("w"));
}

}  // namespace
}  // namespace quantmoe
