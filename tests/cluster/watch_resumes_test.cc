// A watcher that loses its stream goes on at its cursor: every event once, none missing, OK at the end.
#include <gtest/gtest.h>

#include "tests/support/test_cluster.h"

namespace quantmoe {
namespace {

struct Watched {
  std::vector<int64_t> seqs;
  v1::Job::State last_state = v1::Job::STATE_UNSPECIFIED;
  grpc::Status status;
};

// Reads at most `limit` numbered events, then cancels.
Watched Watch(TestCluster& cluster, const std::string& job, int64_t after, size_t limit) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  v1::WatchJobRequest request;
  request.set_name(job);
  request.set_after_seq(after);
  auto stream = cluster.jobs().WatchJob(&context, request);
  Watched watched;
  for (v1::JobEvent event; watched.seqs.size() < limit && stream->Read(&event);) {
    if (event.seq() == 0) continue;
    watched.seqs.push_back(event.seq());
    if (event.has_state_changed()) watched.last_state = event.state_changed().state();
  }
  if (watched.seqs.size() == limit) context.TryCancel();
  watched.status = stream->Finish();
  return watched;
}

TEST(WatchResumesTest, NoEventIsMissedOrSeenTwice) {
  TestCluster cluster({.workers = 2});
  const std::string job = cluster.CreateJob();
  std::vector<int64_t> seen;
  Watched piece;
  do {
    piece = Watch(cluster, job, seen.empty() ? 0 : seen.back(), /*limit=*/7);
    seen.insert(seen.end(), piece.seqs.begin(), piece.seqs.end());
  } while (piece.seqs.size() == 7);
  EXPECT_TRUE(piece.status.ok()) << piece.status.error_message();
  for (size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], static_cast<int64_t>(i) + 1);
  EXPECT_EQ(seen.size(), cluster.ListEvents(job).size());
  EXPECT_EQ(cluster.GetJob(job).state(), v1::Job::SUCCEEDED);
}

TEST(WatchResumesTest, TheCursorOutlivesTheCoordinator) {
  TestCluster cluster({.workers = 1, .lease = absl::Seconds(5)});
  cluster.tasks().Hold(TaskKind::kSolve);
  const std::string job = cluster.CreateJob();
  cluster.tasks().AwaitHeld();
  const Watched before = Watch(cluster, job, 0, /*limit=*/3);
  cluster.StopCoordinator();
  cluster.StartCoordinator();
  cluster.tasks().Release();
  const Watched after = Watch(cluster, job, before.seqs.back(), /*limit=*/100'000);
  EXPECT_TRUE(after.status.ok()) << after.status.error_message();
  EXPECT_EQ(after.seqs.front(), before.seqs.back() + 1);
  for (size_t i = 1; i < after.seqs.size(); ++i) ASSERT_EQ(after.seqs[i], after.seqs[i - 1] + 1);
  EXPECT_EQ(after.last_state, v1::Job::SUCCEEDED);
}

}  // namespace
}  // namespace quantmoe
