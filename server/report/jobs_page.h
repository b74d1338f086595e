// The page at /: what an operator wants to see first. Jobs, why they wait, workers and what they do. It needs
// no script and no network, and whatever comes from outside is escaped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "quantmoe/v1/jobs.pb.h"
#include "quantmoe/v1/system.pb.h"

namespace quantmoe {

struct JobRow {
  std::string id = {};
  std::string title = {};  // may be empty
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  std::string reason = {};  // why it waits, was cancelled or failed; empty: nothing to say
  std::string model = {};
  std::string budget = {};
  std::string heuristic = {};
  std::string profile = {};  // of the loader; empty: the default
  std::string stages = {};   // kinds of the tasks that run now
  int tasks_done = 0;
  int tasks_cached = 0;  // of the done ones
  int tasks_total = 0;
  bool expanded = false;  // all tasks are known
  int workers = 0;        // that run tasks of it
  // Perplexity before and after; 0: not measured.
  double original_perplexity = 0;
  double perplexity = 0;
  absl::Time created = {};
  absl::Time started = absl::InfinitePast();   // not yet
  absl::Time finished = absl::InfinitePast();  // not yet
};

struct WorkerRow {
  std::string id = {};
  v1::Worker::State state = v1::Worker::STATE_UNSPECIFIED;
  std::string device = {};
  std::string version = {};
  std::string determinism_class = {};
  int threads = 0;
  int64_t memory_bytes = 0;
  std::vector<std::string> tasks = {};  // that run now: job/task
  int64_t tasks_done = 0;
  absl::Duration silent = {};  // since it was last heard
  absl::Time connected = {};
};

struct JobsPage {
  std::string version;
  int64_t term = 0;
  std::string data_dir;
  std::string notice;  // what keeps the coordinator from all of its work; empty: nothing
  bool recovering = false;
  absl::Time now;
  std::vector<JobRow> jobs;  // in the order of the page
  int64_t hidden_jobs = 0;   // older ones, which have ended
  std::vector<int64_t> jobs_by_state = std::vector<int64_t>(v1::Job::State_ARRAYSIZE);
  std::vector<WorkerRow> workers;
};

std::string RenderJobsPage(const JobsPage& page);

// "45 s", "12 min", "3 h 5 min", "4 d 2 h"; "-" for infinite and negative durations.
std::string SpanText(absl::Duration span);

}  // namespace quantmoe
