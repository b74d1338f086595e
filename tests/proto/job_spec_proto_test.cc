#include "proto/job_spec_proto.h"

#include <set>

#include <google/protobuf/descriptor.h>

#include "plan/options/spec_json.h"
#include "tests/support/status_matchers.h"
#include "tests/support/unusual_spec.h"

namespace quantmoe {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// As many values as a struct has members make one; a base counts as a member. Stands for a value of any type,
// so it becomes one by itself.
struct Anything {
  template <typename T>
  requires(!kIsOptional<T>) operator T() const {  // NOLINT(google-explicit-constructor)
    return {};
  }
};
template <typename T, typename... Values>
constexpr int CountMembers() {
  if constexpr (requires { T{Values{}..., Anything{}}; }) {
    return CountMembers<T, Values..., Anything>();
  } else {
    return sizeof...(Values);
  }
}

template <HasOptions Spec>
void CheckMembers(const Spec& spec, const std::string& name) {
  int entries = 0;
  auto visit = [&](const OptionInfo& option, const auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    ++entries;
    if constexpr (HasOptions<T>) CheckMembers(value, option.name);
  };
  VisitOptions(spec, visit);
  EXPECT_EQ(entries, CountMembers<Spec>()) << name << " has a member without an entry";
}

std::set<std::string> FieldsOf(const Descriptor& message, const std::string& path) {
  std::set<std::string> fields;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    const std::string below = path.empty() ? field.name() : absl::StrCat(path, ".", field.name());
    const bool leaf = field.type() != FieldDescriptor::TYPE_MESSAGE || field.is_map();
    if (leaf) {
      fields.insert(below);
    } else {
      fields.merge(FieldsOf(*field.message_type(), below));
    }
  }
  return fields;
}

// With the fields of what is in lists and of digests.
template <HasOptions Spec>
std::set<std::string> EntriesOf(const Spec& spec, const std::string& path) {
  std::set<std::string> entries;
  auto visit = [&](const OptionInfo& option, const auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    const std::string below = PathBelow(path, option);
    if constexpr (HasOptions<T>) {
      entries.merge(EntriesOf(value, below));
    } else if constexpr (requires { requires HasOptions<typename T::value_type>; }) {
      entries.merge(EntriesOf(typename T::value_type{}, below));
    } else {
      entries.insert(below);
    }
  };
  VisitOptions(spec, visit);
  return entries;
}

JobSpec ThereAndBack(const v1::JobSpec& proto) {
  // Through bytes, so that it is a message of another program.
  v1::JobSpec received;
  EXPECT_TRUE(received.ParseFromString(proto.SerializeAsString()));
  std::vector<FieldViolation> violations;
  JobSpec spec = JobSpecFromProto(received, violations);
  EXPECT_THAT(violations, IsEmpty());
  return spec;
}

std::vector<std::string> BadFields(const v1::JobSpec& proto) {
  std::vector<FieldViolation> violations;
  JobSpecFromProto(proto, violations);
  std::vector<std::string> fields;
  for (const FieldViolation& violation : violations) fields.push_back(violation.field);
  return fields;
}

TEST(JobSpecProtoTest, EveryMemberHasAnEntry) {
  CheckMembers(JobSpec{}, "JobSpec");
  CheckMembers(RankBudget{}, "RankBudget");
  CheckMembers(WidthRule{}, "WidthRule");
  CheckMembers(BenchmarkTaskSpec{}, "BenchmarkTaskSpec");
}

TEST(JobSpecProtoTest, FieldsOfTheMessageAndEntriesAreTheSame) {
  EXPECT_EQ(FieldsOf(*v1::JobSpec::descriptor(), ""), EntriesOf(JobSpec{}, ""));
}

TEST(JobSpecProtoTest, EveryOptionGoesThereAndBackAlone) {
  for (const std::string& path : OptionPaths()) {
    const JobSpec spec = UnusualAt(path);
    EXPECT_NE(spec, JobSpec{}) << path;
    EXPECT_EQ(ThereAndBack(JobSpecToProto(spec)), spec) << path;
    EXPECT_EQ(ThereAndBack(JobSpecToProto(spec, {{path, ""}})), spec) << path;
    std::vector<FieldViolation> violations;
    GivenFields given;
    JobSpecFromProto(JobSpecToProto(spec, {{path, ""}}), violations, &given);
    EXPECT_THAT(given, ElementsAre(std::pair<const std::string, std::string>(path, "")));
  }
}

TEST(JobSpecProtoTest, AllOptionsGoThereAndBackTogether) {
  const JobSpec unusual = UnusualEverywhere();
  EXPECT_EQ(ThereAndBack(JobSpecToProto(unusual)), unusual);
  EXPECT_EQ(ThereAndBack(JobSpecToProto(JobSpec{})), JobSpec{});
}

TEST(JobSpecProtoTest, WhatIsNotGivenIsLeftToTheReader) {
  const v1::JobSpec proto = JobSpecToProto(UnusualEverywhere(), {{"gptq.damp", "--damp"}});
  EXPECT_FALSE(proto.has_calibration());
  EXPECT_EQ(proto.gptq().damp(), 0.01 + 0.125);
  EXPECT_FALSE(proto.gptq().has_shrinkage());
  // A default that was asked for is said, where the message can say it.
  EXPECT_TRUE(JobSpecToProto(JobSpec{}, {{"gptq.correction", "--correction"}}).gptq().has_correction());
}

TEST(JobSpecProtoTest, ValuesOfEnumsThatNobodyKnowsAreNamed) {
  v1::JobSpec proto;
  proto.mutable_gptq()->set_order(static_cast<v1::GptqParams::ColumnOrder>(7));
  proto.mutable_gptq()->set_scales(static_cast<v1::GptqParams::ScaleRule>(-1));
  proto.mutable_gptq()->set_propagation(static_cast<v1::GptqParams::Propagation>(3));
  proto.mutable_calibration()->set_states(static_cast<v1::Calibration::StateType>(99));
  EXPECT_THAT(BadFields(proto), ElementsAre("spec.gptq.order", "spec.gptq.scales", "spec.gptq.propagation",
                                            "spec.calibration.states"));
}

TEST(JobSpecProtoTest, EveryValueOfAnEnumIsKnown) {
  const Descriptor& gptq = *v1::GptqParams::descriptor();
  for (const FieldDescriptor* field :
       {gptq.FindFieldByName("order"), gptq.FindFieldByName("scales"), gptq.FindFieldByName("propagation"),
        v1::Calibration::descriptor()->FindFieldByName("states")}) {
    for (int i = 0; i < field->enum_type()->value_count(); ++i) {
      v1::JobSpec proto;
      google::protobuf::Message& message =
          field->containing_type() == &gptq ? static_cast<google::protobuf::Message&>(*proto.mutable_gptq())
                                            : *proto.mutable_calibration();
      message.GetReflection()->SetEnumValue(&message, field, field->enum_type()->value(i)->number());
      EXPECT_THAT(BadFields(proto), IsEmpty()) << field->full_name() << " " << i;
    }
  }
}

TEST(JobSpecProtoTest, FieldsOfALaterVersionAreNamed) {
  v1::JobSpec proto;
  const auto add = [](google::protobuf::Message& message) {
    message.GetReflection()->MutableUnknownFields(&message)->AddVarint(999, 1);
  };
  add(proto);
  add(*proto.mutable_gptq());
  add(*proto.mutable_budget()->mutable_rank_bytes());
  add(*proto.add_rules());
  proto.mutable_calibration()->mutable_text()->set_sha256(std::string(64, 'a'));
  add(*proto.mutable_calibration()->mutable_text());
  EXPECT_THAT(BadFields(proto), testing::UnorderedElementsAre("spec", "spec.gptq", "spec.budget.rank_bytes",
                                                              "spec.rules[0]", "spec.calibration.text"));
}

TEST(JobSpecProtoTest, DigestsThatAreNoneAreNamed) {
  v1::JobSpec proto;
  proto.mutable_calibration()->mutable_text()->set_sha256("abc");
  proto.mutable_evaluation()->mutable_perplexity_text();
  v1::Digest& data = *proto.mutable_evaluation()->add_tasks()->mutable_data();
  data.set_sha256(std::string(64, 'a'));
  data.set_size_bytes(-1);
  EXPECT_THAT(BadFields(proto),
              ElementsAre("spec.calibration.text.sha256", "spec.evaluation.perplexity_text.sha256",
                          "spec.evaluation.tasks[0].data.size_bytes"));
}

TEST(JobSpecProtoTest, EveryKeptOptionGoesThroughItsDocumentAlone) {
  for (const std::string& path : OptionPaths()) {
    const JobSpec spec = UnusualAt(path);
    const std::string document = JobSpecToJson(spec);
    ASSERT_OK_AND_ASSIGN(const JobSpec read, JobSpecFromJson(document));
    EXPECT_EQ(JobSpecToJson(read), document) << path;
    // What is input alone is in no document; everything else is, and comes back.
    const bool kept = document != JobSpecToJson(JobSpec{}) && path != "evaluation.tasks";
    EXPECT_TRUE(!kept || read == spec) << path;
  }
}

}  // namespace
}  // namespace quantmoe
