#include "proto/lenient_parse.h"

#include <quantmoe/v1/jobs.pb.h>
#include <quantmoe/v1/worker.pb.h>

#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

TEST(LenientParse, TextsAreMadeValidWhereverTheyAre) {
  v1::FailTaskRequest sent;
  sent.mutable_attempt()->set_task("jobs/a/tasks/b");
  sent.mutable_error()->set_code(3);
  sent.mutable_error()->set_message("bad row CUTx");
  sent.mutable_error()->add_details()->set_value("CUT");  // bytes stay
  sent.set_seconds(1.5);
  std::string bytes = sent.SerializeAsString();
  for (size_t at; (at = bytes.find("CUT")) != std::string::npos;) bytes.replace(at, 3, "\xE3\x81z");
  v1::FailTaskRequest received;
  ASSERT_FALSE(received.ParseFromString(bytes));  // what the mend is about
  ASSERT_THAT(ParseLeniently(bytes, &received), IsOkAndHolds(true));
  EXPECT_EQ(received.attempt().task(), "jobs/a/tasks/b");
  EXPECT_EQ(received.error().message(), "bad row \uFFFD\uFFFDzx");
  EXPECT_EQ(received.error().details(0).value(), "\xE3\x81z");
  EXPECT_EQ(received.seconds(), 1.5);
}

TEST(LenientParse, MapsAndListsAreLookedInto) {
  v1::Job sent;
  (*sent.mutable_labels())["team"] = "CUT";
  sent.mutable_spec()->add_rules()->set_pattern("CUT");
  std::string bytes = sent.SerializeAsString();
  for (size_t at; (at = bytes.find("CUT")) != std::string::npos;) bytes.replace(at, 3, "\xFFyz");
  v1::Job received;
  ASSERT_THAT(ParseLeniently(bytes, &received), IsOkAndHolds(true));
  EXPECT_EQ(received.labels().at("team"), "\uFFFDyz");
  EXPECT_EQ(received.spec().rules(0).pattern(), "\uFFFDyz");
}

TEST(LenientParse, AWholeMessageIsToldFromAMendedOne) {
  v1::Job sent, received;
  sent.set_name("jobs/caf\u00E9");
  EXPECT_THAT(ParseLeniently(sent.SerializeAsString(), &received), IsOkAndHolds(false));
  EXPECT_EQ(received.name(), "jobs/caf\u00E9");
}

TEST(LenientParse, OtherBytesAreNoMessage) {
  v1::Job job;
  EXPECT_FALSE(ParseLeniently("\x0F\xFF\xFF", &job).ok());
}

}  // namespace
}  // namespace quantmoe
