#include "server/report/jobs_page.h"

#include <httplib.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"

namespace quantmoe {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

JobRow Running() {
  return {.id = "job-1",
          .title = "mixtral at 3",
          .state = v1::Job::RUNNING,
          .model = "/models/mixtral",
          .budget = "3 bits on average",
          .heuristic = "optimal",
          .profile = "vllm",
          .stages = "solve",
          .tasks_done = 34,
          .tasks_cached = 4,
          .tasks_total = 120,
          .expanded = true,
          .workers = 2,
          .created = kNow - absl::Minutes(70),
          .started = kNow - absl::Minutes(65)};
}

JobsPage Page() {
  JobsPage page;
  page.version = "1.2.3";
  page.term = 7;
  page.data_dir = "/data";
  page.now = kNow;
  page.jobs = {Running()};
  page.workers = {{.id = "w1",
                   .state = v1::Worker::BUSY,
                   .device = "cuda:0 H200",
                   .version = "1.2.3",
                   .determinism_class = "cuda-sm90",
                   .threads = 8,
                   .memory_bytes = int64_t{64} << 30,
                   .tasks = {"job-1/solve-l0-p0"},
                   .tasks_done = 17,
                   .silent = absl::Seconds(2),
                   .connected = kNow - absl::Hours(26)}};
  return page;
}

TEST(JobsPageTest, AJobSaysWhereItStands) {
  EXPECT_THAT(RenderJobsPage(Page()),
              AllOf(HasSubstr("mixtral at 3"), HasSubstr("job-1"), HasSubstr("running"),
                    HasSubstr("<progress value=\"34\" max=\"120\" aria-label=\"34 of 120 tasks\">"),
                    HasSubstr("solve on 2 workers"), HasSubstr("4 known before"),
                    HasSubstr("/<wbr>models/<wbr>mixtral"), HasSubstr("3 bits on average"),
                    HasSubstr("optimal<small>for vllm"), HasSubstr("1 h 10 min"), HasSubstr("1 h 5 min"),
                    Not(HasSubstr("/jobs/job-1/report"))));
}

TEST(JobsPageTest, AWaitingJobSaysWhy) {
  JobsPage page = Page();
  page.jobs[0].reason = "no worker is connected";
  EXPECT_THAT(RenderJobsPage(page),
              AllOf(HasSubstr("class=\"state wait\">waiting"), HasSubstr("no worker is connected")));
}

TEST(JobsPageTest, AFinishedJobLeadsToItsReport) {
  JobsPage page = Page();
  JobRow& job = page.jobs[0];
  job.state = v1::Job::SUCCEEDED;
  job.finished = kNow - absl::Minutes(5);
  job.original_perplexity = 67.24;
  job.perplexity = 67.7;
  const std::string html = RenderJobsPage(page);
  EXPECT_THAT(
      html, AllOf(HasSubstr("<a href=\"/jobs/job-1/report\">Report"), HasSubstr("perplexity 67.7 from 67.24"),
                  HasSubstr("1 h 0 min"), Not(HasSubstr("http-equiv=\"refresh\""))));
  job.state = v1::Job::FAILED;
  job.reason = "task solve-l0-p0: not finite";
  EXPECT_THAT(RenderJobsPage(page), AllOf(HasSubstr("class=\"state bad\">failed"), HasSubstr("not finite"),
                                          Not(HasSubstr("/report"))));
}

TEST(JobsPageTest, AWorkerSaysWhatItIsAndDoes) {
  EXPECT_THAT(RenderJobsPage(Page()),
              AllOf(HasSubstr("w1"), HasSubstr("busy"), HasSubstr("cuda:0 H200"), HasSubstr("cuda-sm90"),
                    HasSubstr("job-1/solve-l0-p0"), HasSubstr("64.0 GiB"), HasSubstr(">17<"),
                    HasSubstr("1 d 2 h"), HasSubstr("1 of 1"), Not(HasSubstr("differs"))));
  JobsPage page = Page();
  page.workers[0].version = "1.2.2";
  page.workers[0].state = v1::Worker::SUSPECT;
  EXPECT_THAT(RenderJobsPage(page), AllOf(HasSubstr("differs from the coordinator"), HasSubstr("silent")));
}

TEST(JobsPageTest, TheCoordinatorSaysWhatItIsAndWhatIsWrong) {
  JobsPage page = Page();
  EXPECT_THAT(RenderJobsPage(page),
              AllOf(HasSubstr("coordinator 1.2.3, term 7"), HasSubstr("href=\"/metrics\""),
                    HasSubstr("href=\"/readyz\""), Not(HasSubstr("role=\"alert\"")),
                    Not(HasSubstr("has just started"))));
  page.notice = "the disk of the coordinator is full";
  page.recovering = true;
  EXPECT_THAT(RenderJobsPage(page), AllOf(HasSubstr("role=\"alert\">the disk of the coordinator is full"),
                                          HasSubstr("has just started")));
}

TEST(JobsPageTest, WithoutJobsAndWorkersItSaysHowToBegin) {
  JobsPage page = Page();
  page.jobs.clear();
  page.workers.clear();
  EXPECT_THAT(RenderJobsPage(page), AllOf(HasSubstr("quantmoe submit"), HasSubstr("quantmoe-worker --server"),
                                          Not(HasSubstr("<table"))));
}

// Whatever a client, a worker or an operator may have chosen.
TEST(JobsPageTest, NoTextBecomesMarkup) {
  const std::string evil = "\"><img src=x onerror=alert(1)>'&";
  JobsPage page = Page();
  page.version = page.data_dir = page.notice = evil;
  JobRow& job = page.jobs[0];
  for (std::string* text : {&job.id, &job.title, &job.reason, &job.model, &job.budget, &job.heuristic,
                            &job.profile, &job.stages}) {
    *text = evil;
  }
  WorkerRow& worker = page.workers[0];
  for (std::string* text :
       {&worker.id, &worker.device, &worker.version, &worker.determinism_class, &worker.tasks[0]}) {
    *text = evil;
  }
  JobRow finished = job;
  finished.state = v1::Job::SUCCEEDED;
  finished.finished = kNow;
  page.jobs.push_back(finished);
  const std::string html = RenderJobsPage(page);
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("\">&lt;img src=x onerror=alert(1)&gt;'")));
  EXPECT_THAT(html, HasSubstr("&lt;img src=x onerror=alert(1)&gt;"));
}

TEST(JobsPageTest, ItAsksTheNetworkForNothingAndRunsNothing) {
  const std::string html = RenderJobsPage(Page());
  for (const char* fetch : {"src=", "@import", "url(", "href=\"http", "<script"})
    EXPECT_THAT(html, Not(HasSubstr(fetch)));
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
}

TEST(JobsPageTest, AJobThatEndedWithoutATimeIsNotWaitedFor) {
  JobsPage page = Page();
  page.jobs.front().state = v1::Job::FAILED;  // its records cannot be read
  page.jobs.front().started = page.jobs.front().finished = absl::InfinitePast();
  EXPECT_THAT(RenderJobsPage(page),
              AllOf(Not(HasSubstr("http-equiv=\"refresh\"")), Not(HasSubstr("not started"))));
}

TEST(JobsPageTest, SpansAreReadAtAGlance) {
  EXPECT_EQ(SpanText(absl::Seconds(45.9)), "45 s");
  EXPECT_EQ(SpanText(absl::Minutes(12.5)), "12 min");
  EXPECT_EQ(SpanText(absl::Minutes(185)), "3 h 5 min");
  EXPECT_EQ(SpanText(absl::Hours(98)), "4 d 2 h");
  EXPECT_EQ(SpanText(-absl::Seconds(1)), "-");
  EXPECT_EQ(SpanText(absl::InfiniteDuration()), "-");
}

TEST(JobsPageTest, TheServerShowsItsJobsAndWorkers) {
  RunningServer server;
  const std::string name = server.CreateTinyJob();
  const std::string id = name.substr(name.find('/') + 1);
  httplib::Client http("http://" + server.coordinator().http_address());
  server.AwaitJob(name, [](const v1::Job& job) { return job.has_waiting(); });
  auto page = http.Get("/");
  ASSERT_TRUE(page);
  EXPECT_THAT(page->body, AllOf(HasSubstr(id), HasSubstr("no worker is connected"),
                                HasSubstr("tiny-qwen2-moe"), HasSubstr("3.50 bits"), HasSubstr("optimal")));
  FakeWorker worker(server.coordinator().worker_address(), {.id = "alice"});
  const v1::Assign assign = worker.AwaitAssign();
  page = http.Get("/");
  ASSERT_TRUE(page);
  EXPECT_THAT(page->body,
              AllOf(HasSubstr("alice"), HasSubstr(absl::StrCat(id, "/prepare")), HasSubstr("busy")));
  worker.Finish(assign);
  worker.SetCredits(1);
  worker.RunToEnd();
  server.AwaitEnd(name);
  page = http.Get("/");
  ASSERT_TRUE(page);
  EXPECT_THAT(page->body, AllOf(HasSubstr("succeeded"), HasSubstr(absl::StrCat("/jobs/", id, "/report"))));
}

}  // namespace
}  // namespace quantmoe
