// Rows of state.db that rotted, or that another program wrote: a job that can be loaded, or one that is set
// aside. The input is a job's record and then a definition and a record for each task, each with its length
// in two bytes before it.
#include "proto/job_state.h"
#include "server/facts/job_table.h"
#include "server/facts/stored_records.h"
#include "server/facts/task_rows.h"
#include "tests/fuzz/fuzz_input.h"

namespace quantmoe {
namespace {

absl::string_view TakeRow(absl::string_view& input) {
  if (input.size() < 2) return std::exchange(input, {});
  const size_t length = static_cast<uint8_t>(input[0]) + size_t{256} * static_cast<uint8_t>(input[1]);
  const absl::string_view row = input.substr(2, length);
  input.remove_prefix(2 + row.size());
  return row;
}

// The key columns beside a record say the same as the record, or it is unreadable.
StoredJob ReadJobOf(absl::string_view record) {
  server::JobRecord parsed;
  if (!parsed.ParseFromArray(record.data(), static_cast<int>(record.size()))) return ReadJob("j", 1, record);
  return ReadJob(parsed.id(), parsed.create_number(), record);
}

void RequireSameAgain(const StoredJob& job) {
  StoredJob again = ReadJobOf(job.record.SerializeAsString());
  for (const auto& [definition, record] : job.tasks) {
    server::TaskRecord rest = record;
    const TaskNode node = NodeOf(definition, rest);
    ReadTask(DefineTask(node.definition).SerializeAsString(), RowOf(node, rest).SerializeAsString(), again);
  }
  SettleUnreadable(again);
  Require(again.unreadable.ok() && again.tasks.size() == job.tasks.size(),
          "what is written again is readable");
}

void Load(StoredJob job) {
  const std::string id = job.record.id();
  JobTable table;
  table.Load(std::move(job.record), std::move(job.tasks));
  Require(table.next_number() > 0, "jobs can still be created");
  const Job& loaded = *table.Find(id);
  for (const Task& task : loaded.tasks) {
    (void)loaded.graph.InputsOf(*task.node);
    (void)loaded.graph.KeyOf(*task.node, "class");
    (void)task.outputs();
  }
  table.Apply(JobStateChanged{id, v1::Job::CANCELLED});
  table.Apply(JobDeleted{id});
}

}  // namespace
}  // namespace quantmoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  absl::string_view input = TextOf(data, size);
  (void)DecodeEvent({1, std::string(input)});
  StoredJob job = ReadJobOf(TakeRow(input));
  while (!input.empty()) {
    const absl::string_view definition = TakeRow(input);
    ReadTask(definition, TakeRow(input), job);
  }
  SettleUnreadable(job);
  if (job.unreadable.ok()) {
    RequireSameAgain(job);
  } else {
    Require(job.tasks.empty() && IsTerminal(job.record.state()), "what is left of it cannot run");
  }
  Load(std::move(job));
  return 0;
}
