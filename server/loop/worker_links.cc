#include "server/loop/worker_links.h"

#include <algorithm>

namespace quantmoe {

std::shared_ptr<WorkerLink> WorkerLinks::Find(const std::string& worker) const {
  auto it = links_.find(worker);
  return it == links_.end() ? nullptr : it->second;
}

void WorkerLinks::TakeCredit(const std::string& worker) {
  --table_.at(worker).credits;
  loop_.AfterCommit([this, worker](const absl::Status& committed) {
    loop_thread.AssertHeld();
    const auto known = table_.find(worker);
    if (!committed.ok() && known != table_.end()) ++known->second.credits;
  });
}

void WorkerLinks::NoteArrivals() {
  for (const auto& [worker, link] : links_) {
    const auto known = table_.find(worker);
    if (known == table_.end()) continue;
    known->second.last_heard = std::max(known->second.last_heard, link->heard_at());
  }
}

void WorkerLinks::Send(const std::string& worker, v1::CoordinatorMessage message) {
  std::shared_ptr<WorkerLink> link = Find(worker);
  if (link == nullptr) return;
  loop_.AfterCommit([this, worker, link, message = std::move(message)](const absl::Status& committed) {
    if (committed.ok()) return link->Send(message);
    if (!message.has_welcome()) return;
    // A worker that waits for its first answer had better say hello again, and gets no task before.
    loop_thread.AssertHeld();
    link->Close(committed);
    if (const auto known = table_.find(worker); known != table_.end() && Find(worker) == link) {
      known->second.connected = false;
    }
  });
}

void WorkerLinks::SendCancel(const std::string& worker, const std::string& task_name,
                             const std::string& token, absl::string_view reason) {
  v1::CoordinatorMessage message;
  message.mutable_cancel()->mutable_attempt()->set_task(task_name);
  message.mutable_cancel()->mutable_attempt()->set_token(token);
  message.mutable_cancel()->set_reason(std::string(reason));
  Send(worker, std::move(message));
}

void WorkerLinks::SendDrop(const std::string& worker, const std::string& task_name,
                           const std::string& token) {
  v1::CoordinatorMessage message;
  message.mutable_drop()->mutable_attempt()->set_task(task_name);
  message.mutable_drop()->mutable_attempt()->set_token(token);
  Send(worker, std::move(message));
}

}  // namespace quantmoe
