// A state store in memory, for tests of what happens around a commit.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/status_macros.h"
#include "server/facts/state_store.h"

namespace quantmoe {

// Keeps jobs only, and refuses what it is told to.
class MemoryStore final : public StateStore {
 public:
  int64_t term() const override { return 1; }
  absl::Status Commit(const std::vector<Change>& changes) override {
    RETURN_IF_ERROR(std::exchange(next_, absl::OkStatus()));
    for (const Change& change : changes) {
      if (const auto* job = std::get_if<PutJob>(&change)) jobs_.push_back({job->record, {}});
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<StoredJob>> LoadJobs() override { return jobs_; }
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(absl::string_view, int64_t, int) override {
    return std::vector<StoredEvent>();
  }
  absl::StatusOr<std::vector<CachedResult>> FindCachedResults(const std::vector<std::string>&) override {
    return std::vector<CachedResult>();
  }
  absl::Status VisitCachedResults(const std::function<void(const CachedResult&)>&,
                                  std::vector<std::string>&) override {
    return absl::OkStatus();
  }
  void FailNextCommit(absl::Status status) { next_ = std::move(status); }

 private:
  absl::Status next_;
  std::vector<StoredJob> jobs_;
};

}  // namespace quantmoe
