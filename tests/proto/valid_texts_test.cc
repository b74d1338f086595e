#include "proto/valid_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <quantmoe/v1/jobs.pb.h>
#include <quantmoe/v1/worker.pb.h>

namespace quantmoe {
namespace {

constexpr char kDamaged[] = "caf\xC3";
constexpr char kMended[] = "caf\uFFFD";

TEST(ValidTexts, TextsAreMendedWhereverTheyAreAndBytesStay) {
  v1::Job job;
  job.set_display_name(kDamaged);
  (*job.mutable_labels())["team"] = kDamaged;
  (*job.mutable_labels())["whole"] = "ok";
  job.mutable_spec()->mutable_gptq()->add_all_tokens("experts");
  job.mutable_spec()->mutable_gptq()->add_all_tokens(kDamaged);
  job.mutable_spec()->add_rules()->set_pattern(kDamaged);
  job.mutable_error()->add_details()->set_value(kDamaged);
  MakeTextsValid(job);
  EXPECT_EQ(job.display_name(), kMended);
  EXPECT_EQ(job.labels().at("team"), kMended);
  EXPECT_EQ(job.labels().at("whole"), "ok");
  EXPECT_THAT(job.spec().gptq().all_tokens(), testing::ElementsAre("experts", kMended));
  EXPECT_EQ(job.spec().rules(0).pattern(), kMended);
  EXPECT_EQ(job.error().details(0).value(), kDamaged);
  EXPECT_TRUE(v1::Job().ParseFromString(job.SerializeAsString())) << "what every receiver asks for";
}

TEST(ValidTexts, WhatIsNotSetStaysUnset) {
  v1::WorkerMessage message;
  message.mutable_task_nack();
  MakeTextsValid(message);
  EXPECT_FALSE(message.task_nack().has_attempt());
  EXPECT_FALSE(message.task_nack().has_reason());
}

}  // namespace
}  // namespace quantmoe
