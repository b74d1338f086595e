#include "proto/field_limits.h"

#include <set>

#include <google/protobuf/descriptor.h>
#include <quantmoe/v1/artifacts.pb.h>
#include <quantmoe/v1/blobs.pb.h>
#include <quantmoe/v1/catalog.pb.h>
#include <quantmoe/v1/jobs.pb.h>
#include <quantmoe/v1/limits.pb.h>
#include <quantmoe/v1/system.pb.h>
#include <quantmoe/v1/worker.pb.h>

#include "base/error_info.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using testing::ElementsAre;
using testing::SizeIs;
using testing::UnorderedElementsAre;

std::vector<std::string> BadFields(const google::protobuf::Message& request) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetErrorInfo(CheckFieldLimits(request)).violations) {
    fields.push_back(violation.field);
  }
  return fields;
}

TEST(FieldLimits, TextsListsAndMapsAreBounded) {
  v1::CancelJobRequest cancel;
  cancel.set_reason(std::string(1000, 'x'));
  EXPECT_OK(CheckFieldLimits(cancel));
  cancel.set_reason(std::string(3'000'000, 'x'));
  const absl::Status status = CheckFieldLimits(cancel);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               "reason: has 3000000 bytes, at most 1000 are allowed"));
  EXPECT_THAT(status, HasReason("INVALID_FIELD"));

  v1::CreateJobRequest create;
  (*create.mutable_job()->mutable_labels())["team"] = std::string(64, 'x');
  for (int i = 0; i < 257; ++i) create.mutable_job()->mutable_spec()->add_rules();
  create.mutable_job()->mutable_spec()->mutable_gptq()->add_all_tokens(std::string(201, '*'));
  create.mutable_job()->mutable_spec()->mutable_gptq()->add_all_tokens("experts");
  EXPECT_THAT(BadFields(create),
              ElementsAre("job.labels[0].value", "job.spec.gptq.all_tokens[0]", "job.spec.rules"));
}

TEST(FieldLimits, FieldsWithoutALimitOfTheirOwnHaveTheDefault) {
  v1::FailTaskRequest fail;
  fail.mutable_error()->set_message(std::string(4097, 'x'));
  for (int i = 0; i < 1001; ++i) fail.mutable_error()->add_details();
  EXPECT_THAT(BadFields(fail), ElementsAre("error.message", "error.details"));
}

TEST(FieldLimits, AMessageThatIsWrongEverywhereGetsAShortAnswer) {
  v1::CreateJobRequest create;
  for (int i = 0; i < 60; ++i) {
    create.mutable_job()->mutable_spec()->mutable_evaluation()->add_tasks()->set_name(std::string(101, 'x'));
  }
  EXPECT_THAT(BadFields(create), SizeIs(20));
}

// The fields of `message` and of what it holds that are texts, lists or maps and state no limit.
void CollectUnlimited(const Descriptor& message, std::set<const Descriptor*>& seen,
                      std::vector<std::string>& unlimited) {
  if (message.file()->package() != "quantmoe.v1" || message.options().map_entry()) return;
  if (!seen.insert(&message).second) return;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    const v1::FieldLimit& limit = field.options().GetExtension(v1::at_most);
    const bool text = field.type() == FieldDescriptor::TYPE_STRING || field.is_map();
    if ((text && limit.bytes() == 0) || (field.is_repeated() && limit.items() == 0)) {
      unlimited.push_back(field.full_name());
    }
    if (field.message_type() != nullptr) CollectUnlimited(*field.message_type(), seen, unlimited);
  }
}

std::vector<const google::protobuf::MethodDescriptor*> AllMethods() {
  std::vector<const google::protobuf::MethodDescriptor*> methods;
  for (const auto* file :
       {v1::Artifact::descriptor()->file(), v1::FindMissingBlobsRequest::descriptor()->file(),
        v1::InspectModelRequest::descriptor()->file(), v1::Job::descriptor()->file(),
        v1::Worker::descriptor()->file(), v1::Hello::descriptor()->file()}) {
    EXPECT_EQ(file->service_count(), 1);
    for (int i = 0; i < file->service(0)->method_count(); ++i) methods.push_back(file->service(0)->method(i));
  }
  return methods;
}

TEST(FieldLimits, EveryFieldOfEveryRequestStatesItsLimit) {
  std::vector<std::string> unlimited;
  // Of Job, of which requests read other fields.
  std::set<const Descriptor*> seen = {v1::Progress::descriptor(), v1::Waiting::descriptor()};
  for (const auto* method : AllMethods()) CollectUnlimited(*method->input_type(), seen, unlimited);
  EXPECT_THAT(unlimited,
              ElementsAre("quantmoe.v1.Job.state_reason", "quantmoe.v1.Job.artifact", "quantmoe.v1.Job.etag",
                          "quantmoe.v1.Job.parent_job", "quantmoe.v1.Job.warnings"));
}

// Lists and maps in `message` and in what it holds.
void CollectLists(const Descriptor& message, std::set<const Descriptor*>& seen,
                  std::set<std::string>& lists) {
  if (message.file()->package() != "quantmoe.v1" || !seen.insert(&message).second) return;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    const v1::FieldLimit& limit = field.options().GetExtension(v1::at_most);
    if (field.is_repeated() && limit.items() == 0) lists.insert(field.full_name());
    if (field.message_type() != nullptr && !field.is_map()) CollectLists(*field.message_type(), seen, lists);
  }
}

// Whether the entries of an answer come in pages that the request asks for, and are its only list.
bool IsPaged(const google::protobuf::MethodDescriptor& method) {
  const Descriptor& asked = *method.input_type();
  const bool by_token = asked.FindFieldByName("page_token") != nullptr &&
                        method.output_type()->FindFieldByName("next_page_token") != nullptr;
  return asked.FindFieldByName("page_size") != nullptr &&
         (by_token || asked.FindFieldByName("after_seq") != nullptr);
}

// A list that grows with what users or workers do must come in pages. What stands here is bounded by itself.
TEST(FieldLimits, EveryListOfEveryAnswerIsPagedOrBoundedByItself) {
  std::set<std::string> lists;
  std::set<const Descriptor*> seen;
  for (const auto* method : AllMethods()) {
    std::set<std::string> of_answer;
    CollectLists(*method->output_type(), seen, of_answer);
    if (IsPaged(*method)) {
      const FieldDescriptor& entries = *method->output_type()->field(0);
      EXPECT_TRUE(entries.is_repeated()) << entries.full_name();
      EXPECT_EQ(of_answer.erase(entries.full_name()), 1u) << entries.full_name();
    }
    lists.merge(of_answer);
  }
  EXPECT_THAT(lists, UnorderedElementsAre(
                         // At most what the request asked about.
                         "quantmoe.v1.FindMissingBlobsResponse.missing",
                         // Built into the program.
                         "quantmoe.v1.Capabilities.families", "quantmoe.v1.Capabilities.heuristics",
                         "quantmoe.v1.Capabilities.profiles", "quantmoe.v1.Capabilities.widths",
                         "quantmoe.v1.HeuristicInfo.params", "quantmoe.v1.ListHeuristicsResponse.heuristics",
                         "quantmoe.v1.ListHeuristicsResponse.presets",
                         "quantmoe.v1.ListProfilesResponse.profiles", "quantmoe.v1.PresetInfo.params",
                         "quantmoe.v1.ProfileInfo.group_sizes", "quantmoe.v1.ProfileInfo.widths",
                         // One for each kind of task, and one for each thing that may be warned of.
                         "quantmoe.v1.Estimate.stages", "quantmoe.v1.Estimate.warnings",
                         "quantmoe.v1.Job.warnings", "quantmoe.v1.Progress.stages",
                         // Shards of the weights and files carried from the model; all of one artifact.
                         "quantmoe.v1.Artifact.files",
                         // The inputs of one task.
                         "quantmoe.v1.TaskSpec.inputs"));
}

}  // namespace
}  // namespace quantmoe
