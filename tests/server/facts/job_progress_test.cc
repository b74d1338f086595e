#include "server/facts/job_progress.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantmoe {
namespace {

TEST(JobProgressTest, StagesComeInTheOrderOfAJob) {
  JobCreated created;
  created.record.set_id("job");
  created.record.set_create_number(1);
  for (const TaskKind kind :
       {TaskKind::kPublish, TaskKind::kAllocate, TaskKind::kSolve, TaskKind::kPrepare}) {
    created.tasks.push_back(
        {.label = std::string(TaskKindName(kind)), .kind = kind, .params_json = "", .inputs = {}});
  }
  JobTable table;
  table.Apply(created);
  const v1::Progress progress = ProgressOf(*table.Find("job"));
  std::vector<std::string> stages;
  for (const v1::StageProgress& stage : progress.stages()) {
    stages.push_back(stage.stage());
    EXPECT_EQ(stage.tasks_total(), 1);
  }
  EXPECT_THAT(stages, testing::ElementsAre("prepare", "solve", "allocate", "publish"));
}

}  // namespace
}  // namespace quantmoe
