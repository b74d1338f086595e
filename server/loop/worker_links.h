// The workers the coordinator talks to: their facts, and a way to send to each. On the commit loop's thread;
// messages leave after the commit of what they tell.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "quantmoe/v1/worker.pb.h"
#include "server/facts/worker_table.h"
#include "server/loop/commit_loop.h"

namespace quantmoe {

// One session's way out. Thread-safe, never blocks; does nothing once the session is over.
class WorkerLink {
 public:
  virtual ~WorkerLink() = default;
  virtual void Send(v1::CoordinatorMessage message) = 0;
  virtual void Close(const absl::Status& status) = 0;
  // When the newest message arrived, whether or not it was looked at: on the monotonic clock.
  virtual absl::Duration heard_at() const = 0;
};

class WorkerLinks {
 public:
  explicit WorkerLinks(CommitLoop& loop) : loop_(loop) {}

  WorkerTable& table() ON_LOOP { return table_; }
  const WorkerTable& table() const ON_LOOP { return table_; }

  void Connect(const std::string& worker, std::shared_ptr<WorkerLink> link) ON_LOOP {
    links_[worker] = std::move(link);
  }
  void Disconnect(const std::string& worker) ON_LOOP { links_.erase(worker); }
  std::shared_ptr<WorkerLink> Find(const std::string& worker) const ON_LOOP;
  const std::map<std::string, std::shared_ptr<WorkerLink>>& all() const ON_LOOP { return links_; }

  // Takes one of the worker's credits; gives it back when the running commit fails. The worker must be known.
  void TakeCredit(const std::string& worker) ON_LOOP;
  // Brings `last_heard` of connected workers up to what has arrived.
  void NoteArrivals() ON_LOOP;

  // After the running commit; dropped when the worker is not connected or the commit fails.
  void Send(const std::string& worker, v1::CoordinatorMessage message) ON_LOOP;
  void SendCancel(const std::string& worker, const std::string& task_name, const std::string& token,
                  absl::string_view reason) ON_LOOP;
  void SendDrop(const std::string& worker, const std::string& task_name, const std::string& token) ON_LOOP;

 private:
  CommitLoop& loop_;
  WorkerTable table_ OF_LOOP;
  std::map<std::string, std::shared_ptr<WorkerLink>> links_ OF_LOOP;
};

}  // namespace quantmoe
