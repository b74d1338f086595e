#include "server/loop/job_watchers.h"

#include "absl/strings/str_cat.h"

#include "base/error_info.h"
#include "proto/job_state.h"
#include "server/facts/job_progress.h"

namespace quantmoe {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(500);
constexpr absl::Duration kHeartbeatInterval = absl::Seconds(15);

}  // namespace

absl::Status JobWatchers::Add(const Job& job, std::shared_ptr<JobWatcher> watcher, absl::Duration now) {
  if (count_ >= kMaxWatchers) {
    return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_WATCHERS",
                     absl::StrCat("at most ", kMaxWatchers, " jobs are watched at a time"));
  }
  Followed& followed = followed_[job.record.id()];
  if (followed.watchers.empty()) followed.heartbeat_at = now;
  watcher->LogGrew(job.record.last_seq(), IsTerminal(job.record.state()));
  followed.shown_version = -1;  // a new watcher wants to see where the job stands
  if (followed.shown_waiting.cause() != v1::Waiting::CAUSE_UNSPECIFIED)
    watcher->Waiting(followed.shown_waiting);
  if (followed.watchers.insert(std::move(watcher)).second) {
    ++count_;
    metrics_.WatchersChanged(1);
  }
  return absl::OkStatus();
}

void JobWatchers::Remove(const std::string& job, const std::shared_ptr<JobWatcher>& watcher) {
  auto followed = followed_.find(job);
  if (followed == followed_.end() || followed->second.watchers.erase(watcher) == 0) return;
  --count_;
  metrics_.WatchersChanged(-1);
  if (followed->second.watchers.empty()) followed_.erase(followed);
}

void JobWatchers::Notify(const JobTable& table, const std::set<std::string>& jobs) {
  for (const std::string& id : jobs) {
    auto followed = followed_.find(id);
    if (followed == followed_.end()) continue;
    const Job* job = table.Find(id);
    for (const auto& watcher : followed->second.watchers) {
      if (job == nullptr) {
        watcher->JobGone();
      } else {
        watcher->LogGrew(job->record.last_seq(), IsTerminal(job->record.state()));
      }
    }
  }
}

void JobWatchers::Tick(const JobTable& table, absl::Duration now) {
  for (auto& [id, followed] : followed_) {
    const Job* job = table.Find(id);
    if (job == nullptr) continue;
    if (followed.shown_version != job->progress_version && now - followed.progress_at >= kProgressInterval) {
      followed.progress_at = now;
      ShowProgress(*job, followed);
    }
    ShowWaiting(*job, followed);
    if (now - followed.heartbeat_at >= kHeartbeatInterval) {
      followed.heartbeat_at = now;
      for (const auto& watcher : followed.watchers) watcher->Heartbeat(job->record.last_seq());
    }
  }
}

void JobWatchers::ShowProgress(const Job& job, Followed& followed) {
  followed.shown_version = job.progress_version;
  const v1::Progress progress = ProgressOf(job);
  for (const auto& watcher : followed.watchers) watcher->Progress(progress);
}

void JobWatchers::ShowWaiting(const Job& job, Followed& followed) {
  if (followed.shown_waiting.cause() == job.waiting.cause() &&
      followed.shown_waiting.reason() == job.waiting.reason()) {
    return;
  }
  followed.shown_waiting = job.waiting;
  for (const auto& watcher : followed.watchers) watcher->Waiting(job.waiting);
}

void JobWatchers::CloseAll(const absl::Status& status) {
  for (const auto& [id, followed] : followed_) {
    for (const auto& watcher : followed.watchers) watcher->Close(status);
  }
}

}  // namespace quantmoe
