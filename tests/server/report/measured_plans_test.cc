#include "server/report/measured_plans.h"

#include <string>
#include <utility>
#include <vector>

#include "server/facts/task_rows.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

v1::TaskBlob PlanNamed(const std::string& content) {
  v1::TaskBlob blob;
  blob.set_role("plan");
  *blob.mutable_digest() = ToProto(DigestOf(content));
  return blob;
}

// A job with these tasks; each that gives a plan is done and gives one that is named after it.
JobTable WithTasks(std::vector<TaskDefinition> tasks, const std::vector<std::string>& planners) {
  JobTable table;
  JobCreated created;
  created.record.set_id("job");
  created.record.set_create_number(1);
  created.tasks = std::move(tasks);
  table.Apply(created);
  for (const std::string& label : planners) {
    table.Apply(TaskReady{"job", label, "", absl::ZeroDuration()});
    table.Apply(TaskStarted{"job", label, "w", "token", absl::UnixEpoch(), absl::ZeroDuration()});
    table.Apply(
        TaskDone{"job", label, {PlanNamed(label)}, /*cached=*/false, /*seconds=*/1, absl::UnixEpoch()});
  }
  return table;
}

TEST(MeasuredPlansTest, ThePublishedPlanIsTheOneThatThePublishTaskReads) {
  const std::vector<std::string> planners = {kAllocateLabel, RefineLabel(1), RefineLabel(2), kAssembleLabel};
  for (const std::string& chosen : planners) {
    std::vector<TaskDefinition> tasks;
    for (const std::string& label : planners)
      tasks.push_back({.label = label, .params_json = "", .inputs = {}});
    tasks.push_back({.label = kPublishLabel,
                     .kind = TaskKind::kPublish,
                     .params_json = "",
                     .inputs = {FromBlob("other", Digest()), FromTask("plan", chosen, "plan")}});
    const JobTable table = WithTasks(std::move(tasks), planners);
    EXPECT_THAT(PublishedPlanOf(*table.Find("job")), IsOkAndHolds(DigestOf(chosen))) << chosen;
  }
}

TEST(MeasuredPlansTest, AJobThatPublishesNothingHasNoPublishedPlan) {
  const JobTable table =
      WithTasks({{.label = kAllocateLabel, .params_json = "", .inputs = {}}}, {kAllocateLabel});
  EXPECT_THAT(PublishedPlanOf(*table.Find("job")), HasReason("MISSING_OUTPUT"));
}

}  // namespace
}  // namespace quantmoe
