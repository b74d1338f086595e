#include "plan/graph/task_kind.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::UnorderedElementsAre;

TEST(TaskKindTest, EveryKindIsFoundByItsName) {
  std::set<absl::string_view> names;
  for (const TaskKind kind : AllTaskKinds()) {
    EXPECT_TRUE(names.insert(TaskKindName(kind)).second) << TaskKindName(kind);
    ASSERT_OK_AND_ASSIGN(const TaskKind found, ParseTaskKind(TaskKindName(kind)));
    EXPECT_EQ(found, kind);
  }
  EXPECT_FALSE(ParseTaskKind("knead").ok());
}

// What a report reads of a job that ended long ago; collecting one of them would break its page.
TEST(TaskKindTest, WhatReportsReadOutlivesTheJob) {
  std::set<absl::string_view> kept;
  for (const TaskKind kind : AllTaskKinds()) {
    if (IsKeptAfterJob(kind, "plan")) kept.insert(TaskKindName(kind));
  }
  EXPECT_THAT(kept, UnorderedElementsAre("allocate", "refine", "verdict", "assemble"));
  for (const char* role : {"manifest", "scores", "items"}) {
    EXPECT_TRUE(IsKeptAfterJob(TaskKind::kPublish, role)) << role;
  }
  EXPECT_FALSE(IsKeptAfterJob(TaskKind::kPublish, "file.0"));
  EXPECT_FALSE(IsKeptAfterJob(TaskKind::kSolve, "w4"));
  EXPECT_FALSE(IsKeptAfterJob(TaskKind::kRefine, "stream.1"));
}

}  // namespace
}  // namespace quantmoe
