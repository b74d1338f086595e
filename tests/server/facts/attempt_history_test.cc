#include "server/facts/attempt_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(AttemptHistoryTest, EveryDeathIsOneOfItsWorker) {
  server::TaskRecord record;
  EXPECT_EQ(Deaths(record), 0);
  EXPECT_THAT(WorkersThatDied(record), IsEmpty());
  RecordDeath(record, "b");
  RecordDeath(record, "a");
  RecordDeath(record, "b");
  EXPECT_EQ(Deaths(record), 3);
  EXPECT_THAT(WorkersThatDied(record), ElementsAre("a", "b"));
}

TEST(AttemptHistoryTest, ADeathIsNeitherFaultNorShortageAndKeepsTheTaskFromTheWorker) {
  server::TaskRecord record;
  RecordDeath(record, "a");
  RecordDeath(record, "a");
  EXPECT_EQ(Faults(record), 0);
  EXPECT_EQ(Shortages(record), 0);
  EXPECT_EQ(WorkersThatFailed(record), 0);
  EXPECT_EQ(FailuresOn(record, "a"), 1);
  RecordCharge(record, Charge::kShortage, "a");
  EXPECT_EQ(FailuresOn(record, "a"), 2);
  EXPECT_EQ(FailuresOn(record, "b"), 0);
}

// The first rows named the workers, the next ones counted beside the names.
TEST(AttemptHistoryTest, RowsOfOlderCoordinatorsCountOn) {
  server::TaskRecord record;
  record.add_killed_workers("a");
  record.add_killed_workers("b");
  EXPECT_EQ(Deaths(record), 2);
  record.set_deaths(3);
  EXPECT_EQ(Deaths(record), 3);
  EXPECT_EQ(FailuresOn(record, "a"), 1);
  RecordDeath(record, "a");
  RecordDeath(record, "c");
  EXPECT_EQ(Deaths(record), 5);
  EXPECT_THAT(WorkersThatDied(record), ElementsAre("a", "b", "c"));
  EXPECT_EQ(FailuresOn(record, "a"), 1) << "one worker, however it was written down";
}

TEST(AttemptHistoryTest, WhatIsStoredIsReadBack) {
  server::TaskRecord record;
  record.set_infrastructure_failures(2);
  RecordDeath(record, "a");
  RecordCharge(record, Charge::kFault, "a");
  server::TaskRecord read;
  ASSERT_TRUE(read.ParseFromString(record.SerializeAsString()));
  EXPECT_EQ(Deaths(read), 1);
  EXPECT_EQ(Faults(read), 3);
  EXPECT_THAT(WorkersThatDied(read), ElementsAre("a"));
}

}  // namespace
}  // namespace quantmoe
