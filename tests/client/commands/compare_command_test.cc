#include <set>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "client/commands/command_line.h"
#include "client/text/error_report.h"
#include "proto/grpc_status.h"
#include "tests/client/fake_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string ReportOf(double perplexity) {
  return absl::StrCat(R"({"original_bytes": 9000, "weight_file_bytes": 3000,
    "plan": {"average_bits": 3, "loss": 1, "objective": "block"},
    "scores": {"comparison": {"scores": [{"task": "perplexity", "metric": "value", "before": 6, "after": )",
                      perplexity, R"(, "interval": [0.5, 1.5]}]}}})");
}

// A server that keeps jobs by request id and ends each of them at once.
class CompareTest : public ::testing::Test {
 protected:
  CompareTest() {
    v1::JobEvent event;
    event.set_seq(1);
    event.mutable_state_changed()->set_state(v1::Job::SUCCEEDED);
    server_.jobs.log = {event};
    server_.jobs.create = [this](const v1::CreateJobRequest& request, v1::Job* job) {
      return Create(request, job);
    };
  }

  grpc::Status Create(const v1::CreateJobRequest& request, v1::Job* job) {
    const std::string& heuristic = request.job().spec().heuristic().name();
    if (request.validate_only()) {
      if (heuristic != "best") return grpc::Status::OK;
      return ToGrpcStatus(InvalidFields({{"spec.heuristic.name", "there is no heuristic 'best'"}}));
    }
    auto known = requests_.find(request.request_id());
    if (known == requests_.end()) {
      const std::string name = absl::StrCat("jobs/", heuristic, requests_.size());
      known = requests_.emplace(request.request_id(), name).first;
      AddJob(name, heuristic == fails_ ? v1::Job::FAILED : v1::Job::SUCCEEDED);
      *job = server_.jobs.others[name];
      job->set_state(v1::Job::QUEUED);
      return grpc::Status::OK;
    }
    *job = server_.jobs.others[known->second];
    return grpc::Status::OK;
  }

  void AddJob(const std::string& name, v1::Job::State state) {
    v1::Job& job = server_.jobs.others[name];
    job.set_name(name);
    job.set_state(state);
    if (state == v1::Job::FAILED) job.mutable_error()->set_message("no worker had luck");
    server_.jobs.reports[name] = ReportOf(absl::StrContains(name, "optimal") ? 7 : 8);
  }

  int Run(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    CommandContext context(out_, err_);
    context.channel = server_.channel();
    context.backoff = kFastBackoff;
    arguments.insert(arguments.begin(), "compare");
    return RunCommandLine(arguments, context);
  }

  std::vector<v1::CreateJobRequest> Created() const {
    std::vector<v1::CreateJobRequest> created;
    for (const auto& request : server_.jobs.created) {
      if (!request.validate_only()) created.push_back(request);
    }
    return created;
  }

  FakeServer server_;
  std::map<std::string, std::string> requests_;  // names of jobs
  std::string fails_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(CompareTest, EveryHeuristicAtEveryBudget) {
  EXPECT_EQ(Run({"/m", "--heuristics", "optimal,random:seed=1:scope=layer", "--bits", "3,2.5", "--bytes",
                 "4KB", "--group-size", "64", "--name", "try"}),
            kExitOk)
      << err_.str();
  const std::vector<v1::CreateJobRequest> created = Created();
  ASSERT_EQ(created.size(), 6u);
  std::set<std::string> ids;
  for (const auto& request : created) {
    ids.insert(request.request_id());
    EXPECT_LE(request.request_id().size(), 64u);
    EXPECT_EQ(request.job().spec().gptq().group_size(), 64);
    EXPECT_EQ(request.job().spec().model().uri(), "/m");
  }
  EXPECT_EQ(ids.size(), 6u);
  EXPECT_EQ(created[2].job().spec().budget().average_bits(), 2.5);
  EXPECT_EQ(created[5].job().spec().budget().max_bytes(), 4000);
  EXPECT_EQ(created[5].job_id(), "try-random-seed-1-scope-layer-4kb");
  EXPECT_EQ(created[3].job().spec().heuristic().params().at("scope"), "layer");
  EXPECT_THAT(created[2].job().spec().heuristic().params(), IsEmpty());
  EXPECT_TRUE(server_.jobs.created[5].validate_only()) << "all are checked before the first is created";
  EXPECT_THAT(out_.str(), HasSubstr("*  3 bits    optimal "));
  EXPECT_THAT(err_.str(), HasSubstr("[2/6] random:seed=1:scope=layer at 3 bits: jobs/"));
}

TEST_F(CompareTest, AControlOfEqualBytesIsAddedWhereNoUniformPlanFillsTheBudget) {
  const auto heuristics = [this](std::vector<std::string> command) {
    server_.jobs.created.clear();
    EXPECT_EQ(Run(std::move(command)), kExitOk) << err_.str();
    std::string names;
    for (const v1::CreateJobRequest& request : Created())
      absl::StrAppend(&names, request.job().spec().heuristic().name(), " ");
    return names;
  };
  EXPECT_EQ(heuristics({"/m", "--bits", "3,2.5"}), "optimal uniform optimal uniform in-order ");
  EXPECT_EQ(heuristics({"/m", "--bits", "3,8", "--widths", "2,8"}),
            "optimal uniform in-order optimal uniform ");
  EXPECT_EQ(heuristics({"/m", "--bytes", "4KB"}), "optimal uniform in-order ");
  EXPECT_EQ(heuristics({"/m", "--bits", "2.5", "--no-control"}), "optimal uniform ");
  EXPECT_EQ(heuristics({"/m", "--bits", "2.5", "--heuristics", "in-order,uniform"}), "in-order uniform ");
  EXPECT_EQ(heuristics({"/m", "--bits", "2.5", "--heuristics", "optimal"}), "optimal ");
}

TEST_F(CompareTest, TheSameCommandFindsTheSameJobs) {
  const std::vector<std::string> command = {"/m", "--bits", "3", "--param", "a=1", "--param", "b=2"};
  EXPECT_EQ(Run(command), kExitOk) << err_.str();
  const std::string table = out_.str();
  server_.jobs.cursors.clear();
  EXPECT_EQ(Run(command), kExitOk) << err_.str();
  EXPECT_EQ(requests_.size(), 2u);
  EXPECT_EQ(out_.str(), table);
  EXPECT_THAT(server_.jobs.cursors, IsEmpty()) << "jobs that ended are not watched";
  EXPECT_EQ(Run({"/m", "--bits", "3", "--param", "a=1", "--param", "b=3"}), kExitOk);
  EXPECT_EQ(requests_.size(), 4u) << "another spec, other jobs";
}

TEST_F(CompareTest, AFailedJobIsARow) {
  fails_ = "uniform";
  EXPECT_EQ(Run({"/m", "--heuristics", "uniform,optimal", "--bits", "3", "--json"}), kExitFailed);
  const auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json["jobs"][0]["failure"], "no worker had luck");
  EXPECT_EQ(json["jobs"][1]["perplexity"]["after"], 7);
  EXPECT_EQ(json["jobs"][1]["best"], true);
}

TEST_F(CompareTest, AFailedJobRunsAgainWithTheNextCommand) {
  fails_ = "uniform";
  const std::vector<std::string> command = {"/m", "--heuristics", "uniform", "--bits", "3"};
  EXPECT_EQ(Run(command), kExitFailed);
  EXPECT_THAT(server_.jobs.retried, IsEmpty());
  AddJob("jobs/uniform0-retry", v1::Job::SUCCEEDED);
  EXPECT_EQ(Run(command), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("jobs/uniform0-retry"));
  EXPECT_EQ(Run(command), kExitOk);
  ASSERT_EQ(server_.jobs.retried.size(), 2u);
  EXPECT_EQ(server_.jobs.retried[0].request_id(), server_.jobs.retried[1].request_id());
}

TEST_F(CompareTest, AJobThatCannotBeCreatedIsARow) {
  server_.jobs.create = [this](const v1::CreateJobRequest& request, v1::Job* job) {
    const bool taken = !request.validate_only() && request.job_id() == "p-uniform-3-bits";
    return taken ? grpc::Status(grpc::StatusCode::ALREADY_EXISTS, "job p-uniform-3-bits exists")
                 : Create(request, job);
  };
  EXPECT_EQ(Run({"/m", "--heuristics", "uniform,optimal", "--bits", "3", "--name", "p"}), kExitFailed);
  EXPECT_THAT(out_.str(), HasSubstr("failed   job p-uniform-3-bits exists\n"));
  EXPECT_THAT(out_.str(), HasSubstr("jobs/optimal0"));
}

TEST_F(CompareTest, NothingStartsWhenOneJobIsWrong) {
  EXPECT_EQ(Run({"/m", "--heuristics", "optimal,best", "--bits", "3,4"}), kExitInvalid);
  EXPECT_THAT(Created(), IsEmpty());
  EXPECT_THAT(err_.str(),
              HasSubstr("quantmoe: best at 3 bits; best at 4 bits: spec.heuristic.name: there is no "
                        "heuristic 'best'\n"));
  EXPECT_EQ(Run({"/m", "--heuristics", "best", "--bits", "3,4"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("quantmoe: spec.heuristic.name: there is no"));
}

TEST_F(CompareTest, ErrorsWithoutFieldsNameTheJob) {
  server_.jobs.create = [](const v1::CreateJobRequest& request, v1::Job*) {
    if (request.job().spec().budget().average_bits() > 2) return grpc::Status::OK;
    return ToGrpcStatus(MakeError(absl::StatusCode::kFailedPrecondition, "BIT_BUDGET_INFEASIBLE", "too small",
                                  {{"minimum", "2 bits"}, {"maximum", "8 bits"}}));
  };
  EXPECT_EQ(Run({"/m", "--heuristics", "optimal", "--bits", "1,3"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("quantmoe: optimal at 1 bits: too small\n"));
  EXPECT_THAT(err_.str(), HasSubstr("hint: ask for a budget from 2 bits to 8 bits"));
}

TEST_F(CompareTest, AJobFileGivesWhatAllJobsShare) {
  TemporaryDirectory files;
  const std::string file =
      files.Write("job.yaml",
                  "model: {uri: /m}\nbudget: {max_bytes: 5GiB}\nlabels: {team: a}\n"
                  "heuristic: {name: expert-frequency, params: {count: 2}}\ngptq: {group_size: 64}\n");
  EXPECT_EQ(Run({"-f", file, "--bits", "3", "--damp", "0.5"}), kExitOk) << err_.str();
  const std::vector<v1::CreateJobRequest> created = Created();
  ASSERT_EQ(created.size(), 2u);
  for (const v1::CreateJobRequest& request : created) {
    const v1::JobSpec& spec = request.job().spec();
    EXPECT_EQ(spec.model().uri(), "/m");
    EXPECT_EQ(spec.gptq().group_size(), 64);
    EXPECT_EQ(spec.gptq().damp(), 0.5);
    EXPECT_EQ(spec.budget().average_bits(), 3) << "the comparison has its own budgets";
    EXPECT_FALSE(spec.budget().has_max_bytes());
    EXPECT_THAT(spec.heuristic().params(), IsEmpty());
    EXPECT_EQ(request.job().labels().at("team"), "a");
  }
  EXPECT_EQ(created[0].job().spec().heuristic().name(), "optimal");
  EXPECT_EQ(created[1].job().spec().heuristic().name(), "uniform");
  EXPECT_EQ(Run({"-f", files.Write("bad.yaml", "model: {uri: /m}\ngptq: {dump: 1}\n"), "--bits", "3"}),
            kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("bad.yaml:2:8"));
}

TEST_F(CompareTest, BadFlagsAreNamedTogether) {
  EXPECT_EQ(Run({"/m", "--heuristics", "optimal,optimal,random:seed", "--bytes", "lots", "--pin", "x",
                 "--calibration", "/none"}),
            kExitInvalid);
  for (const char* complaint :
       {"--heuristics: 'optimal' is given twice", "--bytes: ", "--pin: 'x' is not NAME=VALUE",
        "--param: 'seed' is not NAME=VALUE", "--calibration: "}) {
    EXPECT_THAT(err_.str(), HasSubstr(complaint));
  }
  // Where results may go is decided before anything else.
  EXPECT_EQ(Run({"/m", "--bits", "3", "--html", "/no/such/page.html"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("--html: there is no directory '/no/such'"));
  EXPECT_EQ(Run({"/m"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("--bits: give budgets with"));
  EXPECT_THAT(server_.jobs.created, IsEmpty());
}

TEST_F(CompareTest, WritesFiles) {
  TemporaryDirectory files;
  EXPECT_EQ(Run({"/m", "--bits", "3", "--markdown", files / "c.md", "--html", files / "c.html", "--out-json",
                 files / "c.json"}),
            kExitOk)
      << err_.str();
  EXPECT_THAT(files.Read("c.md"), HasSubstr("| 3 bits | **optimal** |"));
  EXPECT_THAT(files.Read("c.html"), HasSubstr("<!DOCTYPE html>"));
  EXPECT_EQ(nlohmann::json::parse(files.Read("c.json"))["format"], "quantmoe.comparison");
}

}  // namespace
}  // namespace quantmoe
