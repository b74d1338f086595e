#include "client/commands/command_line.h"

#include <array>
#include <cstdio>
#include <optional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error_info.h"
#include "client/commands/completion.h"
#include "client/text/error_report.h"
#include "proto/grpc_status.h"
#include "storage/digest.h"
#include "tests/client/fake_server.h"
#include "tests/support/pipe.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class CommandLineTest : public ::testing::Test {
 protected:
  CommandLineTest() {
    server_.jobs.job.set_name("jobs/a");
    server_.jobs.job.set_state(v1::Job::SUCCEEDED);
    server_.jobs.job.set_artifact("artifacts/a");
  }

  int Run(const std::vector<std::string>& arguments) {
    out_.str("");
    err_.str("");
    CommandContext context(out_, err_);
    context.channel = server_.channel();
    context.backoff = kFastBackoff;
    context.interrupted = [this] { return interrupted_; };
    context.confirm = [this](const std::string& question) {
      question_ = question;
      return answer_;
    };
    return RunCommandLine(arguments, context);
  }

  // A job whose log ends in `state`.
  void EndWith(v1::Job::State state) {
    server_.jobs.job.set_state(state);
    v1::JobEvent event;
    event.set_seq(1);
    event.mutable_state_changed()->set_state(state);
    server_.jobs.log = {event};
  }

  FakeServer server_;
  bool interrupted_ = false;
  std::optional<bool> answer_;
  std::string question_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(CommandLineTest, SubmitIsRepeatedWithTheSameRequestId) {
  server_.jobs.create_failures = 2;
  EXPECT_EQ(Run({"submit", "/models/x", "--bits", "3"}), kExitOk) << err_.str();
  EXPECT_EQ(out_.str(), "created jobs/a\n");
  ASSERT_EQ(server_.jobs.created.size(), 3u);
  EXPECT_FALSE(server_.jobs.created[0].request_id().empty());
  EXPECT_EQ(server_.jobs.created[0].request_id(), server_.jobs.created[2].request_id());
}

TEST_F(CommandLineTest, TextsThatAreNotUtf8AreRefusedByTheirFlag) {
  for (const char* flag : {"--name", "--display-name", "--label", "--profile", "--text"}) {
    const std::string value = std::string(flag) == "--label"  ? "team=caf\xE9"
                              : std::string(flag) == "--text" ? "hf://datasets/a/b/caf\xE9"
                                                              : "caf\xE9";
    EXPECT_EQ(Run({"submit", "/m", "--bits", "3", flag, value}), kExitInvalid);
    EXPECT_THAT(err_.str(), AllOf(HasSubstr(flag), HasSubstr("is not UTF-8"))) << flag;
  }
  EXPECT_EQ(Run({"submit", "/caf\xE9", "--bits", "3"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("model"));
  EXPECT_EQ(Run({"cancel", "a", "--reason", "caf\xE9"}), kExitInvalid);
  EXPECT_TRUE(server_.jobs.created.empty()) << "nothing was sent";
}

TEST_F(CommandLineTest, PathsOfFilesMayHaveAnyBytes) {
  TemporaryDirectory files;
  EXPECT_EQ(Run({"submit", "/m", "--bits", "3", "--text", files.Write("caf\xE9", "text")}), kExitOk)
      << err_.str();
  EXPECT_EQ(server_.blobs.stored.size(), 1u);
}

constexpr char kOneLinear[] =
    R"({"linears": [{"linear": {"name": "a.q", "kind": "query", "layer": 0, "out": 64,
  "in": 32}, "bits": 3, "distortion": 0.5}]})";

TEST_F(CommandLineTest, PlansOfAnyFileNameCompare) {
  TemporaryDirectory files;
  const std::string plan = files.Write("caf\xE9", kOneLinear);
  EXPECT_EQ(Run({"plan", "diff", plan, plan}), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("caf\uFFFD"));
  EXPECT_EQ(Run({"plan", "diff", plan, plan, "--json"}), kExitOk) << err_.str();
  EXPECT_EQ(nlohmann::json::parse(out_.str())["a"]["title"], files / "caf\uFFFD");
}

TEST_F(CommandLineTest, PlansOfPipesCompareAndOneWithoutAnEndIsRefused) {
  TemporaryDirectory files;
  const Pipe pipe(files / "pipe", kOneLinear);
  EXPECT_EQ(Run({"plan", "diff", pipe.path(), files.Write("b", kOneLinear)}), kExitOk) << err_.str();
  EXPECT_EQ(Run({"plan", "diff", "/dev/zero", "b"}), kExitInvalid);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("/dev/zero"), HasSubstr("256 MiB")));
}

TEST_F(CommandLineTest, FieldsOfRequestsAreCalledByTheirFlags) {
  server_.jobs.create = [](const v1::CreateJobRequest&, v1::Job*) {
    return ToGrpcStatus(InvalidFields(
        {{"job_id", "must match"}, {"job.labels[0].key", "has 99 bytes"}, {"spec.gptq.damp", "is 2"}}));
  };
  EXPECT_EQ(Run({"submit", "/m", "--bits", "3", "--name", "My_Job"}), kExitInvalid);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("quantmoe: --name: must match\n"), HasSubstr("--label[0].key: has"),
                                HasSubstr("spec.gptq.damp: is 2"), Not(HasSubstr("job_id"))));
  EXPECT_EQ(Run({"submit", "/m", "--bits", "3", "--name", "My_Job", "--json"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("job_id")) << "scripts read what the server said";
}

TEST_F(CommandLineTest, HelpOfListNamesTheStates) {
  EXPECT_EQ(Run({"list", "--help"}), kExitOk);
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("RUNNING"), HasSubstr("CANCELLED"), Not(HasSubstr("UNSPECIFIED"))));
}

TEST_F(CommandLineTest, AJobWhoseNameIsNotUtf8IsNoPlan) {
  TemporaryDirectory files;
  EXPECT_EQ(Run({"plan", "diff", files.Write("a", kOneLinear), "caf\xE9"}), kExitInvalid);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("b: there is no file 'caf\uFFFD'"), HasSubstr("not UTF-8")));
}

TEST_F(CommandLineTest, NoCommandOverwritesWhatItReads) {
  TemporaryDirectory files;
  const std::string text = files.Write("text", "mine");
  const std::vector<std::string> compare = {"compare", "/m", "--bits", "3"};
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--html", text, "--text", text},
                                             {"--markdown", text, "--task", "piqa=" + text},
                                             {"--out-json", text, "--calibration", text},
                                             {"--html", files / "new", "--markdown", files / "new"}}) {
    std::vector<std::string> arguments = compare;
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_EQ(Run(arguments), kExitInvalid) << more[0];
    EXPECT_THAT(err_.str(), HasSubstr(more[0])) << more[0];
  }
  EXPECT_EQ(Run({"--token-file", text, "pareto", "a", "--svg", text}), kExitInvalid);
  EXPECT_EQ(files.Read("text"), "mine");
  EXPECT_THAT(server_.jobs.created, IsEmpty());
  EXPECT_THAT(server_.blobs.stored, IsEmpty());
}

TEST_F(CommandLineTest, SubmitSendsFilesFirst) {
  TemporaryDirectory files;
  EXPECT_EQ(Run({"submit", "/m", "--bits", "3", "--calibration", files.Write("c", "text")}), kExitOk)
      << err_.str();
  EXPECT_EQ(server_.blobs.stored.size(), 1u);
}

TEST_F(CommandLineTest, WatchTellsTheOutcomeByExitCode) {
  for (const auto& [state, code] :
       std::vector<std::pair<v1::Job::State, int>>{{v1::Job::SUCCEEDED, kExitOk},
                                                   {v1::Job::FAILED, kExitFailed},
                                                   {v1::Job::CANCELLED, kExitCancelled}}) {
    EndWith(state);
    EXPECT_EQ(Run({"watch", "a"}), code);
  }
  EndWith(v1::Job::SUCCEEDED);
  EXPECT_EQ(Run({"submit", "/m", "--bits", "3", "--wait"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("job SUCCEEDED\npublished artifacts/a"));
}

TEST_F(CommandLineTest, WatchFromBehindTheLastEventTellsTheOutcome) {
  EndWith(v1::Job::FAILED);
  server_.jobs.job.set_last_event_seq(45);
  EXPECT_EQ(Run({"watch", "a", "--after-seq", "45", "--give-up-after", "0"}), kExitFailed);
  EXPECT_THAT(server_.jobs.cursors, IsEmpty());
  EXPECT_EQ(Run({"watch", "a", "--after-seq", "-1"}), kExitInvalid);
}

TEST_F(CommandLineTest, NumbersThatAreNoneAndFlagsWithoutTheirValueAreRefused) {
  for (const char* seconds : {"nan", "-1", "0"}) {
    EXPECT_EQ(Run({"wait", "a", "--for", seconds}), kExitInvalid) << seconds;
    EXPECT_THAT(err_.str(), HasSubstr("must be above 0")) << seconds;
  }
  EXPECT_EQ(Run({"submit", "/m", "--bits", "3", "--display-name=", "--dry-run"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("--display-name="));
  EXPECT_THAT(server_.jobs.created, IsEmpty()) << "the flag behind it was no name";
}

TEST_F(CommandLineTest, WatchWaitsForAServerThatIsAway) {
  EndWith(v1::Job::SUCCEEDED);
  server_.jobs.get_failures = 20;
  EXPECT_EQ(Run({"watch", "a"}), kExitOk);
  EXPECT_THAT(err_.str(), StartsWith("quantmoe: cannot reach the server at 127.0.0.1:7070, trying again: "));
  EXPECT_THAT(err_.str(), EndsWith("cut\nquantmoe: connected again\n")) << "told once, not at every try";
  server_.jobs.get_failures = 1'000'000;
  EXPECT_EQ(Run({"watch", "a", "--give-up-after", "0"}), kExitUnavailable);
}

TEST_F(CommandLineTest, WatchTellsOnceWhyAJobFailed) {
  EndWith(v1::Job::FAILED);
  v1::Job& job = server_.jobs.job;
  job.set_state_reason("task solve-l0-p0: no luck");
  job.mutable_error()->set_code(static_cast<int>(absl::StatusCode::kInternal));
  job.mutable_error()->set_message("task solve-l0-p0: no luck");
  v1::JobEvent attempt;
  attempt.set_seq(1);
  attempt.mutable_task_changed()->set_outcome(v1::TaskChanged::FAILED);
  attempt.mutable_task_changed()->mutable_error()->set_message("no luck");
  v1::JobEvent& end = server_.jobs.log.front();
  end.set_seq(2);
  end.mutable_state_changed()->set_reason(job.state_reason());
  *end.mutable_state_changed()->mutable_error() = job.error();
  server_.jobs.log.insert(server_.jobs.log.begin(), attempt);
  EXPECT_EQ(Run({"watch", "a"}), kExitFailed);
  EXPECT_THAT(out_.str(), Not(HasSubstr("no luck")));
  EXPECT_EQ(err_.str(), "quantmoe: task solve-l0-p0: no luck\n");
}

TEST_F(CommandLineTest, WatchPrintsJsonLines) {
  EndWith(v1::Job::SUCCEEDED);
  EXPECT_EQ(Run({"watch", "a", "--json"}), kExitOk);
  const auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json["state_changed"]["state"], "SUCCEEDED");
  EXPECT_EQ(json["seq"], "1");
}

TEST_F(CommandLineTest, WaitTellsTheOutcomesAlone) {
  EndWith(v1::Job::SUCCEEDED);
  EXPECT_EQ(Run({"wait", "a", "jobs/a"}), kExitOk) << err_.str();
  EXPECT_EQ(out_.str(), "jobs/a SUCCEEDED\njobs/a SUCCEEDED\n");
  EndWith(v1::Job::FAILED);
  server_.jobs.job.mutable_error()->set_code(13);
  server_.jobs.job.mutable_error()->set_message("no luck");
  EXPECT_EQ(Run({"wait", "a"}), kExitFailed);
  EXPECT_EQ(out_.str(), "jobs/a FAILED: no luck\n");
}

TEST_F(CommandLineTest, WaitGivesUpWhenItsTimeIsOver) {
  server_.jobs.never_end = true;
  EXPECT_EQ(Run({"wait", "a", "--for", "0.3"}), kExitUnavailable);
  EXPECT_THAT(err_.str(), HasSubstr("jobs/a has not ended in 0.3 s"));
}

TEST_F(CommandLineTest, CtrlCLeavesTheJobAndExitsAsShellsExpect) {
  server_.jobs.never_end = true;
  interrupted_ = true;
  EXPECT_EQ(Run({"watch", "a"}), kExitInterrupted);
  EXPECT_THAT(err_.str(), HasSubstr("detached; jobs/a goes on"));
}

TEST_F(CommandLineTest, SubmitTellsWhatTheServerWarnsOf) {
  server_.jobs.job.add_warnings("an expert will see about 3 calibration tokens");
  server_.jobs.job.mutable_resolved_spec()->mutable_model()->set_uri("file:///m");
  server_.jobs.job.mutable_resolved_spec()->mutable_gptq()->set_group_size(64);
  EXPECT_EQ(Run({"submit", "/m", "--bits", "3"}), kExitOk);
  EXPECT_EQ(err_.str(), "quantmoe: warning: an expert will see about 3 calibration tokens\n");
  EXPECT_EQ(Run({"submit", "/m", "--bits", "3", "--validate-only"}), kExitOk);
  EXPECT_THAT(out_.str(), StartsWith("the job is valid\n"));
  EXPECT_THAT(out_.str(), HasSubstr("groups of 64"));
  EXPECT_THAT(out_.str(), HasSubstr("warning"));
}

TEST_F(CommandLineTest, DeleteAsksThePersonAtATerminal) {
  answer_ = false;
  EXPECT_EQ(Run({"delete", "a", "b"}), kExitFailed);
  EXPECT_THAT(question_, HasSubstr("delete 2 jobs (a, b)"));
  EXPECT_THAT(server_.jobs.deleted, IsEmpty());
  EXPECT_EQ(Run({"delete", "a", "--yes"}), kExitOk);
  answer_ = true;
  EXPECT_EQ(Run({"delete", "a"}), kExitOk);
  answer_ = std::nullopt;  // a script
  EXPECT_EQ(Run({"delete", "a"}), kExitOk);
  EXPECT_EQ(server_.jobs.deleted.size(), 3u);
}

TEST_F(CommandLineTest, OneJobThatIsNotThereDoesNotKeepTheOthers) {
  EXPECT_EQ(Run({"delete", "none", "a", "-y"}), kExitFailed);
  EXPECT_EQ(out_.str(), "deleted jobs/a\n");
  EXPECT_THAT(err_.str(), HasSubstr("no job jobs/none"));
  EXPECT_EQ(Run({"cancel", "a", "none"}), kExitFailed);
  EXPECT_THAT(out_.str(), StartsWith("jobs/a is "));
}

TEST_F(CommandLineTest, VersionNeedsNoServer) {
  EXPECT_EQ(Run({"--version"}), kExitOk);
  EXPECT_THAT(out_.str(), StartsWith("quantmoe "));
}

TEST_F(CommandLineTest, JsonIsOneDocumentOfAllPages) {
  EXPECT_EQ(Run({"--json", "list"}), kExitOk) << err_.str();
  const auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json["jobs"].size(), 2u);
  EXPECT_EQ(json["jobs"][1]["name"], "jobs/second");
  EXPECT_EQ(Run({"workers", "--json"}), kExitOk);
  const auto workers = nlohmann::json::parse(out_.str())["workers"];
  ASSERT_EQ(workers.size(), 2u);
  EXPECT_EQ(workers[1]["id"], "worker-2");
  EXPECT_EQ(workers[0]["tasks_done"], "0") << "names and defaults of the proto";
}

TEST_F(CommandLineTest, ServerErrorsGoToTheErrorStream) {
  EXPECT_EQ(Run({"get", "none"}), kExitFailed);
  EXPECT_THAT(out_.str(), IsEmpty());
  EXPECT_EQ(err_.str(), "quantmoe: no job jobs/none\n");
}

TEST_F(CommandLineTest, RefusedConnectionExitsWithFour) {
  CommandContext context(out_, err_);
  context.backoff = kFastBackoff;
  EXPECT_EQ(RunCommandLine({"--server", "127.0.0.1:1", "list"}, context), kExitUnavailable);
  EXPECT_THAT(err_.str(), HasSubstr("quantmoe-server --data-dir DIR"));
}

TEST_F(CommandLineTest, UsageErrorsNameTheNearestCommand) {
  EXPECT_EQ(Run({"sumbit", "x"}), kExitInvalid);
  EXPECT_EQ(err_.str(), "quantmoe: there is no command 'sumbit'\n  hint: did you mean `quantmoe submit`?\n");
  EXPECT_EQ(Run({"artifact", "downlod", "x"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("`quantmoe artifact download`"));
  EXPECT_EQ(Run({}), kExitInvalid);
  EXPECT_EQ(Run({"get"}), kExitInvalid);
  EXPECT_THAT(err_.str(), StartsWith("quantmoe: job is required"));
  EXPECT_EQ(Run({"submit", "/m"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("exactly one of --bits, --bytes, --stored-bits and --rank-bytes"));
  EXPECT_EQ(Run({"list", "--unknown"}), kExitInvalid);
  EXPECT_EQ(Run({"artifact", "download", "a", "b"}), kExitInvalid);
  EXPECT_THAT(err_.str(), HasSubstr("hint: `quantmoe artifact download --help`"));
}

TEST_F(CommandLineTest, HelpDocumentsExitCodes) {
  EXPECT_EQ(Run({"--help"}), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("4 the server cannot be"));
  EXPECT_EQ(Run({"submit", "--help"}), kExitOk);
  for (const char* text : {"--sequence-length", "Budget (give one of them):", "Calibration:",
                           "(default: optimal)", "quantmoe submit hf://"}) {
    EXPECT_THAT(out_.str(), HasSubstr(text));
  }
}

TEST_F(CommandLineTest, DownloadThenVerify) {
  TemporaryDirectory out;
  server_.artifacts.artifact.set_name("artifacts/a");
  server_.artifacts.Add("weights", "www");
  server_.artifacts.Add("artifact.json",
                        absl::StrCat(R"({"files": {"weights": ")", DigestOf("www").sha256, R"("}})"));
  EXPECT_EQ(Run({"artifact", "download", "jobs/a", "--out", out / "x"}), kExitOk) << err_.str();
  EXPECT_EQ(Run({"artifact", "verify", out / "x"}), kExitOk) << err_.str();
  out.Write("x/weights", "wxw");
  EXPECT_EQ(Run({"artifact", "verify", out / "x", "--json"}), kExitFailed);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["files"][0]["result"], "damaged");
}

void ExpectEveryCommand(const CLI::App& app, const std::string& script) {
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    EXPECT_THAT(script, HasSubstr(absl::StrCat(":", child->get_name(), "') path='")));
    ExpectEveryCommand(*child, script);
  }
}

// What bash offers for the last of `words`.
std::string Complete(const std::string& script_path, const std::string& words, int index) {
  const std::string command =
      absl::StrCat("bash -c 'source \"", script_path, "\" && COMP_WORDS=(", words, ") COMP_CWORD=", index,
                   " && _quantmoe && echo \"${COMPREPLY[*]}\"'");
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer = {};
  const size_t read = fread(buffer.data(), 1, buffer.size() - 1, pipe);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return std::string(buffer.data(), read);
}

TEST_F(CommandLineTest, CompletionKnowsEveryCommand) {
  EXPECT_EQ(Run({"completion", "bash"}), kExitOk);
  const std::string script = out_.str();
  CommandContext context(out_, err_);
  CLI::App app;
  BuildCommandLine(app, context);
  ExpectEveryCommand(app, script);
  TemporaryDirectory directory;
  const std::string path = directory.Write("completion", script);
  EXPECT_EQ(Complete(path, "quantmoe sub", 1), "submit\n");
  EXPECT_EQ(Complete(path, "quantmoe --server list art", 3), "artifact\n") << "values are not commands";
  EXPECT_EQ(Complete(path, "quantmoe artifact d", 2), "download\n");
  EXPECT_EQ(Complete(path, "quantmoe submit --tls-c", 2), "--tls-ca --tls-cert\n")
      << "global flags work everywhere";
  EXPECT_EQ(Complete(path, "quantmoe comp", 1), "compare completion\n");
  EXPECT_EQ(Complete(path, "quantmoe compare m --heur", 3), "--heuristics\n");
  EXPECT_EQ(Complete(path, "quantmoe compare --heuristics submit --mark", 4), "--markdown\n");
  EXPECT_EQ(Complete(path, "quantmoe submit --calibration x", 3), "\n") << "file names are left to bash";
}

}  // namespace
}  // namespace quantmoe
