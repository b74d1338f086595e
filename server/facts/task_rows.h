// From tasks to the rows of the store and back, and digests as messages.
#pragma once

#include <vector>

#include "plan/graph/task_definition.h"
#include "plan/graph/task_graph_state.h"
#include "server/facts/state.pb.h"

namespace quantmoe {

v1::Digest ToProto(const Digest& digest);
Digest FromProto(const v1::Digest& digest);
std::vector<v1::TaskBlob> ToProto(const std::vector<BlobRef>& blobs);

server::TaskDefinition DefineTask(const TaskDefinition& task);

// The state of a task in this phase; CANCELLED for kDropped, which may be FAILED, too.
v1::Task::State StateOf(TaskPhase phase);

// `record` with what the graph knows of the task: its key, its results and whether they are an equal task's.
server::TaskRecord RowOf(const TaskNode& node, server::TaskRecord record);
// The node of a stored task, whose kind must be one (stored_records.h refuses others). Takes from `record`
// what RowOf puts there.
TaskNode NodeOf(const server::TaskDefinition& definition, server::TaskRecord& record);

}  // namespace quantmoe
