#include "server/worker_links.h"

namespace quantmoe {

std::shared_ptr<WorkerLink> WorkerLinks::Find(const std::string& worker) const {
  auto it = links_.find(worker);
  return it == links_.end() ? nullptr : it->second;
}

void WorkerLinks::Send(const std::string& worker, v1::CoordinatorMessage message) {
  std::shared_ptr<WorkerLink> link = Find(worker);
  if (link == nullptr) return;
  loop_.AfterCommit([link, message = std::move(message)](const absl::Status& committed) {
    if (committed.ok()) link->Send(message);
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
