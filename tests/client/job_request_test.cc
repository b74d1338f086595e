#include "client/job_request.h"

#include <filesystem>
#include <regex>

#include <CLI/CLI.hpp>

#include "base/error_info.h"
#include "cli/spec_flags.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class JobRequestTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::CreateJobRequest> Make(std::vector<std::string> arguments) {
    CLI::App app;
    cli::TypedFlags spec;
    JobFlags job;
    cli::AddSpecFlags(app, spec, {});
    AddJobFlags(app, job);
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return MakeCreateJobRequest(spec, job, uploads_);
  }

  TemporaryDirectory files_;
  FileUploads uploads_;
};

TEST_F(JobRequestTest, EveryFlagReachesItsField) {
  const std::string text = files_.Write("text.txt", "abc");
  const std::string items = files_.Write("items.jsonl", "{}");
  const auto request = Make({"--bits",
                             "3.25",
                             "--heuristic",
                             "uniform",
                             "--param",
                             "bits=3",
                             "s3://bucket/model",
                             "--group-size",
                             "64",
                             "--widths",
                             "2,4",
                             "--damp",
                             "0.02",
                             "--states",
                             "bf16",
                             "--order",
                             "natural",
                             "--scales",
                             "signed",
                             "--calibration",
                             text,
                             "--samples",
                             "8",
                             "--sequence-length",
                             "128",
                             "--shard-sequences",
                             "4",
                             "--text",
                             text,
                             "--window",
                             "256",
                             "--task",
                             "piqa=" + items,
                             "--fewshot",
                             "piqa=" + text,
                             "--no-add-bos",
                             "--profile",
                             "any",
                             "--name",
                             "my-job",
                             "--display-name",
                             "Mine",
                             "--label",
                             "team=search",
                             "--request-id",
                             "r1"});
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->job_id(), "my-job");
  EXPECT_EQ(request->request_id(), "r1");
  EXPECT_EQ(request->job().display_name(), "Mine");
  EXPECT_EQ(request->job().labels().at("team"), "search");
  const v1::JobSpec& spec = request->job().spec();
  EXPECT_EQ(spec.model().uri(), "s3://bucket/model");
  EXPECT_EQ(spec.budget().average_bits(), 3.25);
  EXPECT_EQ(spec.heuristic().name(), "uniform");
  EXPECT_EQ(spec.heuristic().params().at("bits"), "3");
  EXPECT_EQ(spec.gptq().group_size(), 64);
  EXPECT_THAT(spec.gptq().widths(), ElementsAre(2, 4));
  EXPECT_EQ(spec.gptq().damp(), 0.02);
  EXPECT_EQ(spec.gptq().order(), v1::GptqParams::NATURAL);
  EXPECT_EQ(spec.gptq().scales(), v1::GptqParams::SIGNED);
  EXPECT_EQ(spec.calibration().text().sha256(), DigestOf("abc").sha256);
  EXPECT_EQ(spec.calibration().text().size_bytes(), 3);
  EXPECT_EQ(spec.calibration().samples(), 8);
  EXPECT_EQ(spec.calibration().states(), v1::Calibration::BF16);
  EXPECT_EQ(spec.calibration().sequence_length(), 128);
  EXPECT_EQ(spec.calibration().shard_sequences(), 4);
  EXPECT_EQ(spec.evaluation().perplexity_text().sha256(), DigestOf("abc").sha256);
  EXPECT_EQ(spec.evaluation().window(), 256);
  ASSERT_THAT(spec.evaluation().tasks(), SizeIs(1));
  EXPECT_EQ(spec.evaluation().tasks(0).name(), "piqa");
  EXPECT_EQ(spec.evaluation().tasks(0).data().sha256(), DigestOf("{}").sha256);
  EXPECT_EQ(spec.evaluation().tasks(0).fewshot_data().sha256(), DigestOf("abc").sha256);
  EXPECT_TRUE(spec.evaluation().has_add_bos() && !spec.evaluation().add_bos());
  EXPECT_EQ(spec.runtime_profile(), "any");
  EXPECT_EQ(uploads_.size(), 2u) << "equal bytes are kept once";
}

TEST_F(JobRequestTest, DefaultsLeaveTheChoiceToTheServer) {
  const auto request = Make({"models/x/", "--bytes", "10GiB", "--no-evaluation"});
  ASSERT_THAT(request, IsOk());
  const v1::JobSpec& spec = request->job().spec();
  EXPECT_EQ(spec.model().uri(), (std::filesystem::current_path() / "models/x").string());
  EXPECT_EQ(spec.budget().max_bytes(), int64_t{10} << 30);
  EXPECT_EQ(spec.heuristic().name(), "optimal");
  EXPECT_EQ(spec.gptq().order(), v1::GptqParams::COLUMN_ORDER_UNSPECIFIED);
  EXPECT_FALSE(spec.calibration().has_text());
  EXPECT_FALSE(spec.evaluation().has_add_bos());
  EXPECT_TRUE(spec.evaluation().skip());
}

TEST_F(JobRequestTest, RequestIdsAreRandomUuids) {
  const std::regex uuid("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  const std::string first = Make({"/m", "--bits", "3"})->request_id();
  EXPECT_TRUE(std::regex_match(first, uuid)) << first;
  EXPECT_NE(first, Make({"/m", "--bits", "3"})->request_id());
}

TEST_F(JobRequestTest, FilesOfDataSetsAreForTheServerToFetch) {
  const std::string place = "hf://datasets/owner/data/";
  const auto request =
      Make({"/m", "--bits", "3", "--calibration", place + "c.txt", "--text", place + "t.parquet", "--task",
            "mmlu=" + place + "mmlu.parquet", "--fewshot", "mmlu=" + place + "dev.jsonl", "--limit", "20"});
  ASSERT_THAT(request, IsOk());
  const v1::JobSpec& spec = request->job().spec();
  EXPECT_EQ(spec.calibration().text_uri(), place + "c.txt");
  EXPECT_FALSE(spec.calibration().has_text());
  EXPECT_EQ(spec.evaluation().perplexity_text_uri(), place + "t.parquet");
  ASSERT_THAT(spec.evaluation().tasks(), SizeIs(1));
  EXPECT_EQ(spec.evaluation().tasks(0).data_uri(), place + "mmlu.parquet");
  EXPECT_EQ(spec.evaluation().tasks(0).fewshot_data_uri(), place + "dev.jsonl");
  EXPECT_EQ(spec.evaluation().tasks(0).limit(), 20);
  EXPECT_EQ(uploads_.size(), 0u);
}

TEST_F(JobRequestTest, NamesEveryBadFlagAtOnce) {
  const auto request = Make({"/m", "--param", "novalue", "--calibration", files_ / "none", "--task", "=x",
                             "--label", "a=1", "--label", "a=2", "--fewshot", "copa=x"});
  EXPECT_THAT(request, HasReason("INVALID_FIELD"));
  std::vector<std::string> fields;
  for (const auto& violation : GetErrorInfo(request.status()).violations) fields.push_back(violation.field);
  EXPECT_THAT(fields, testing::UnorderedElementsAre("--bits", "--param", "--calibration", "--task",
                                                    "--fewshot", "--label"));
}

TEST_F(JobRequestTest, NameAndLabelsOfAJobFileGiveWayToFlags) {
  const std::string file =
      files_.Write("job.yaml",
                   "display_name: of the file\nlabels: {team: a, stage: test}\nmodel: {uri: /m}\n"
                   "budget: {average_bits: 3}\n");
  ASSERT_OK_AND_ASSIGN(v1::CreateJobRequest request, Make({"-f", file}));
  EXPECT_EQ(request.job().display_name(), "of the file");
  EXPECT_EQ(request.job().labels().at("team"), "a");
  ASSERT_OK_AND_ASSIGN(request, Make({"-f", file, "--display-name", "typed", "--label", "team=b"}));
  EXPECT_EQ(request.job().display_name(), "typed");
  EXPECT_EQ(request.job().labels().at("team"), "b");
  EXPECT_EQ(request.job().labels().at("stage"), "test");
}

}  // namespace
}  // namespace quantmoe
