#include "server/garbage_collection.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "base/crash_point.h"
#include "base/log.h"

namespace quantmoe {
namespace {

// More than clocks that are being corrected drift between two collections.
constexpr absl::Duration kClockWasSet = absl::Minutes(1);

int64_t DirectoryBytes(const std::string& dir) {
  int64_t bytes = 0;
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(dir, error);
       !error && it != std::filesystem::end(it); it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) bytes += static_cast<int64_t>(it->file_size(ignored));
  }
  return bytes;
}

}  // namespace

void GarbageCollection::Start(absl::Duration min_age) {
  if (!AgesAreKnown()) return;
  running_ = true;
  auto run =
      std::make_shared<Run>(Run{.min_age = min_age, .now = context_.clock.Now(), .facts = {}, .garbage = {}});
  run->facts = GatherLiveFacts(context_.facts.table());
  run->facts.blobs.insert(context_.calibration_prose.sha256);
  run->facts.blobs.insert(context_.heldout_prose.sha256);
  // A job that this batch deletes is there again when the commit fails.
  GoOnAfterCommit([this, run] { Find(run); });
}

void GarbageCollection::Find(const std::shared_ptr<Run>& run) {
  auto found = FindGarbage(std::move(run->facts), context_.store(), run->now - run->min_age);
  if (!found.ok()) {
    Log(LogLevel::kWarning, "no garbage collection", {{"error", found.status().ToString()}});
    return End();
  }
  run->garbage = *std::move(found);
  context_.loop.Post([this, run] {
    loop_thread.AssertHeld();
    Forget(run);
  });
}

void GarbageCollection::Forget(const std::shared_ptr<Run>& run) {
  // What was used since the start would look old by a clock that was set back meanwhile.
  if (!AgesAreKnown()) {
    running_ = false;
    return;
  }
  for (const std::string& key : run->garbage.unused) {
    context_.facts.ForgetUnusedResult(key, run->now - run->min_age);
  }
  for (const std::string& key : run->garbage.unreadable) context_.facts.ForgetResult(key);
  // Results that were forgotten must stay forgotten before their blobs go.
  GoOnAfterCommit([this, run] {
    Sweep(*run);
    End();
  });
}

void GarbageCollection::Sweep(const Run& run) {
  CrashPoint("garbage-sweep");
  LocalBlobStore& blobs = context_.blobs();
  const auto freed =
      blobs.CollectGarbage([&run](const std::string& sha256) { return run.garbage.live.contains(sha256); },
                           run.min_age, std::min(run.now, context_.clock.Now()));
  if (freed.ok()) context_.metrics.GarbageCollected(*freed);
  context_.metrics.StoredBlobBytes(DirectoryBytes(blobs.dir()));
}

void GarbageCollection::GoOnAfterCommit(std::function<void()> step) {
  context_.loop.AfterCommit([this, step = std::move(step)](const absl::Status& committed) {
    loop_thread.AssertHeld();
    running_ = committed.ok() && context_.rooms.steps.Post(step);
  });
}

void GarbageCollection::End() {
  context_.loop.Post([this] {
    loop_thread.AssertHeld();
    running_ = false;
  });
}

bool GarbageCollection::AgesAreKnown() {
  const absl::Duration now = context_.clock.Monotonic();
  const absl::Time origin = context_.clock.Now() - now;
  const absl::Duration step =
      clock_origin_ == absl::InfinitePast() ? absl::ZeroDuration() : origin - clock_origin_;
  clock_origin_ = origin;
  if (absl::AbsDuration(step) > kClockWasSet) {
    ages_known_from_ = now + blob_min_age_;
    Log(LogLevel::kWarning, "the wall clock was set; nothing is collected until ages are known again",
        {{"step", absl::FormatDuration(step)}, {"for", absl::FormatDuration(blob_min_age_)}});
  }
  return now >= ages_known_from_;
}

}  // namespace quantmoe
