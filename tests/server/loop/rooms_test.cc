// What is slow in one place holds up nothing in another, and no stop of the coordinator.
#include "server/loop/rooms.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/interruption.h"
#include "proto/grpc_status.h"
#include "tests/server/fake_worker.h"
#include "tests/server/running_server.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

using testing::AllOf;

constexpr absl::Duration kLongestStop = absl::Seconds(10);

// Takes connections and says nothing, until it is told to answer: then there is no such model.
class SilentHub {
 public:
  SilentHub() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket_, /*backlog=*/128), 0);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~SilentHub() {
    done_ = true;
    thread_.join();
    for (const int connection : held_) ::close(connection);
    ::close(socket_);
  }

  int port() const { return port_; }
  std::string endpoint() const { return absl::StrCat("http://127.0.0.1:", port_); }
  int connections() const { return connections_; }
  void Answer() { answers_ = true; }

 private:
  void Serve() {
    while (!done_) {
      pollfd ready{.fd = socket_, .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, /*timeout=*/20) <= 0) continue;
      const int connection = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
      ++connections_;
      if (!answers_) {
        held_.push_back(connection);
        continue;
      }
      constexpr char kNotFound[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
      (void)!::send(connection, kNotFound, sizeof kNotFound - 1, MSG_NOSIGNAL);
      ::close(connection);
    }
  }

  const int socket_;
  int port_ = 0;
  std::vector<int> held_;
  std::atomic<bool> done_{false};
  std::atomic<bool> answers_{false};
  std::atomic<int> connections_{0};
  std::thread thread_;
};

CoordinatorOptions WithHub(const SilentHub& hub) {
  CoordinatorOptions options = RunningServer::QuickOptions();
  options.models.roots.emplace_back("hf://");
  options.models.hub.endpoint = hub.endpoint();
  options.models.hub.token_from = "env:QUANTMOE_NO_SUCH_TOKEN";
  return options;
}

absl::Status Inspect(RunningServer& server, const std::string& uri, absl::Duration deadline) {
  v1::InspectModelRequest request;
  request.mutable_model()->set_uri(uri);
  v1::InspectModelResponse response;
  return FromGrpcStatus(server.catalog().InspectModel(WithDeadline(deadline).get(), request, &response));
}

// More calls that wait for the hub than any room has threads.
class HubCallers {
 public:
  static constexpr size_t kCalls = 8;
  HubCallers(RunningServer& server, absl::Duration deadline) {
    for (size_t i = 0; i < kCalls; ++i) {
      threads_.emplace_back(
          [&server, deadline, this, i] { results_[i] = Inspect(server, "hf://owner/model", deadline); });
    }
  }
  ~HubCallers() { Join(); }
  // How the calls ended.
  const std::array<absl::Status, kCalls>& results() {
    Join();
    return results_;
  }
  void Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::array<absl::Status, kCalls> results_;
  std::vector<std::thread> threads_;
};

void AwaitConnections(const SilentHub& hub, int count) {
  const absl::Duration end = Clock::Real().Monotonic() + absl::Seconds(30);
  while (hub.connections() < count && Clock::Real().Monotonic() < end) std::this_thread::yield();
  ASSERT_GE(hub.connections(), count);
}

TEST(ExecutorTest, WhatIsQueuedGetsAnAnswerAndIsToldOfTheStop) {
  Executor executor("test", /*threads=*/1, /*max_queued=*/2);
  absl::Notification running, stopping;
  std::vector<absl::Status> seen;
  ASSERT_TRUE(executor.Post([&] {
    running.Notify();
    stopping.WaitForNotificationWithTimeout(absl::Seconds(30));
    seen.push_back(CheckInterrupted());
  }));
  ASSERT_TRUE(running.WaitForNotificationWithTimeout(absl::Seconds(30)));
  ASSERT_TRUE(executor.Post([&] { seen.push_back(CheckInterrupted()); }));
  ASSERT_TRUE(executor.Post([&] { seen.push_back(CheckInterrupted()); }));
  EXPECT_FALSE(executor.Post([] {})) << "no more than it may hold";
  executor.Interrupt();
  stopping.Notify();
  executor.Stop();
  EXPECT_THAT(seen, testing::SizeIs(3));
  EXPECT_THAT(seen, testing::Each(HasReason("SHUTTING_DOWN")));
  EXPECT_FALSE(executor.Post([] {}));
}

TEST(RoomsTest, EachPlaceHasItsOwn) {
  Rooms rooms;
  EXPECT_EQ(&rooms.For("hf://owner/model"), &rooms.hub);
  EXPECT_EQ(&rooms.For("HF://owner/model"), &rooms.hub);
  EXPECT_EQ(&rooms.For("s3://bucket/model"), &rooms.object_stores);
  EXPECT_EQ(&rooms.For("/models/a"), &rooms.models);
  v1::JobSpec spec;
  spec.mutable_model()->set_uri("/models/a");
  EXPECT_EQ(&rooms.For(spec), &rooms.models);
  spec.mutable_evaluation()->add_tasks()->set_data_uri("hf://datasets/owner/data/items.jsonl");
  EXPECT_EQ(&rooms.For(spec), &rooms.hub) << "a job waits for the slowest place it names";
}

TEST(RoomsTest, ASlowHubHoldsUpNothingElse) {
  SilentHub hub;
  RunningServer server(WithHub(hub));
  HubCallers callers(server, absl::Seconds(20));
  AwaitConnections(hub, 4);
  EXPECT_OK(Inspect(server, QUANTMOE_TESTDATA "/tiny-qwen2-moe", absl::Seconds(15)));
  server.CreateTinyJob();
  FakeWorker worker(server.coordinator().worker_address());
  worker.Finish(worker.AwaitAssign());  // uploads and commits
  server.Stop();
}

TEST(RoomsTest, ACallerThatGoesGivesItsPlaceBack) {
  SilentHub hub;
  RunningServer server(WithHub(hub));
  {
    HubCallers callers(server, absl::Milliseconds(500));
    AwaitConnections(hub, 4);
  }
  hub.Answer();
  EXPECT_THAT(Inspect(server, "hf://owner/model", absl::Seconds(15)), HasReason("MODEL_NOT_FOUND"));
}

int ConnectTo(const std::string& address) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return socket;
}

TEST(RoomsTest, AStopWaitsForNobody) {
  SilentHub hub;
  RunningServer server(WithHub(hub));
  const std::string job = server.CreateTinyJob();
  // Calls that wait for the hub, a watch, an upload that stands still, a session, an idle HTTP connection.
  HubCallers callers(server, absl::Seconds(60));
  AwaitConnections(hub, 4);
  const auto watching = WithDeadline(absl::Seconds(60)), uploading = WithDeadline(absl::Seconds(60));
  v1::WatchJobRequest watch_request;
  watch_request.set_name(job);
  const auto watch = server.jobs().WatchJob(watching.get(), watch_request);
  v1::JobEvent event;
  EXPECT_TRUE(watch->Read(&event));
  v1::UploadBlobResponse uploaded;
  const auto upload = server.blobs().UploadBlob(uploading.get(), &uploaded);
  v1::UploadBlobRequest chunk;
  chunk.mutable_digest()->set_sha256(std::string(64, 'a'));
  chunk.mutable_digest()->set_size_bytes(1 << 20);
  chunk.mutable_chunk()->set_data("the beginning");
  EXPECT_TRUE(upload->Write(chunk));
  FakeWorker worker(server.coordinator().worker_address());
  const int idle = ConnectTo(server.coordinator().http_address());
  constexpr char kRequest[] = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_GT(::send(idle, kRequest, sizeof kRequest - 1, MSG_NOSIGNAL), 0);

  const absl::Duration start = Clock::Real().Monotonic();
  server.Stop();
  EXPECT_LT(Clock::Real().Monotonic() - start, kLongestStop);
  while (watch->Read(&event)) {
  }
  EXPECT_THAT(FromGrpcStatus(watch->Finish()), HasReason("SHUTTING_DOWN"));
  EXPECT_FALSE(upload->Finish().ok());
  EXPECT_THAT(FromGrpcStatus(worker.AwaitEnd()),
              AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("SHUTTING_DOWN")));
  // Those that had begun to read, and those behind them that never did.
  for (const absl::Status& result : callers.results()) {
    EXPECT_THAT(result, AllOf(StatusIs(absl::StatusCode::kUnavailable), HasReason("SHUTTING_DOWN")));
  }
  ::close(idle);
}

}  // namespace
}  // namespace quantmoe
