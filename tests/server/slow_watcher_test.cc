// A client that follows a job and does not read what it is sent.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "proto/grpc_status.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

// A watch over a connection that takes `window_bytes` before the client reads.
class Watch {
 public:
  Watch(RunningServer& server, const std::string& job, int window_bytes)
      : context_(WithDeadline(absl::Seconds(60))) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, window_bytes);
    stub_ = v1::JobService::NewStub(grpc::CreateCustomChannel(server.coordinator().address(),
                                                              grpc::InsecureChannelCredentials(), arguments));
    v1::WatchJobRequest request;
    request.set_name(job);
    reader_ = stub_->WatchJob(context_.get(), request);
  }

  // Reads until an event of this kind; false when the stream ends first.
  bool ReadUntil(v1::JobEvent::EventCase kind) {
    for (v1::JobEvent event; reader_->Read(&event);) {
      Note(event);
      if (event.event_case() == kind) return true;
    }
    return false;
  }
  absl::Status ReadToEnd() {
    for (v1::JobEvent event; reader_->Read(&event);) Note(event);
    return FromGrpcStatus(reader_->Finish());
  }

  const std::vector<int64_t>& log() const { return log_; }  // sequence numbers
  int progress() const { return progress_; }

 private:
  void Note(const v1::JobEvent& event) {
    if (event.seq() > 0) log_.push_back(event.seq());
    if (event.has_progress()) ++progress_;
  }

  const std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<v1::JobService::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<v1::JobEvent>> reader_;
  std::vector<int64_t> log_;
  int progress_ = 0;
};

constexpr int kLittle = 16;  // less than any event
constexpr int kUsual = 65535;

class SlowWatcherTest : public testing::Test {
 protected:
  CoordinatorOptions Options() const {
    CoordinatorOptions options = RunningServer::QuickOptions();
    options.clock = &clock_;
    return options;
  }

  FakeClock clock_;
  RunningServer server_{Options()};
};

TEST_F(SlowWatcherTest, ItSkipsProgressAndMissesNoEvent) {
  const std::string name = server_.CreateTinyJob();
  Watch slow(server_, name, kLittle), quick(server_, name, kUsual);
  ASSERT_TRUE(quick.ReadUntil(v1::JobEvent::kProgress));
  FakeWorker worker(server_.coordinator().worker_address());
  for (int task = 0; task < 4; ++task) {
    worker.Finish(worker.AwaitAssign());
    clock_.Advance(absl::Seconds(1));
    ASSERT_TRUE(quick.ReadUntil(v1::JobEvent::kProgress));
  }
  worker.RunToEnd();
  EXPECT_OK(quick.ReadToEnd());
  EXPECT_GE(quick.progress(), 5);

  EXPECT_OK(slow.ReadToEnd());
  EXPECT_EQ(slow.log(), quick.log());
  EXPECT_EQ(slow.log().back(), std::ssize(slow.log())) << "without gaps";
  EXPECT_LE(slow.progress(), 1);
}

TEST_F(SlowWatcherTest, ItAloneIsEndedWhenItReadsNothingForLong) {
  const std::string name = server_.CreateTinyJob();
  Watch slow(server_, name, kLittle), quick(server_, name, kUsual);
  ASSERT_TRUE(quick.ReadUntil(v1::JobEvent::kProgress));
  for (int heartbeat = 0; heartbeat < 6; ++heartbeat) {
    clock_.Advance(absl::Seconds(15));
    ASSERT_TRUE(quick.ReadUntil(v1::JobEvent::kHeartbeat));
  }
  EXPECT_THAT(slow.ReadToEnd(),
              testing::AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("CLIENT_TOO_SLOW")));
  FakeWorker worker(server_.coordinator().worker_address());
  worker.RunToEnd();
  EXPECT_OK(quick.ReadToEnd());
}

}  // namespace
}  // namespace quantmoe
