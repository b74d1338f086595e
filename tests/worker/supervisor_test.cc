#include "worker/supervisor.h"

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

class SupervisorTest : public testing::Test {
 protected:
  // Supervises a shell script, in which `started` adds a line to the file $STARTS.
  int Run(const std::string& script, int most_deaths = 10) {
    SupervisorOptions options;
    options.program = "/bin/sh";
    options.command = {
        "sh", "-c", absl::StrCat("STARTS=", starts_, "; started() { echo started >> $STARTS; }; ", script)};
    options.first_wait = absl::Milliseconds(1);
    options.most_deaths = most_deaths;
    return Supervise(options);
  }
  int Starts() const {
    std::ifstream file(starts_);
    int lines = 0;
    for (std::string line; std::getline(file, line);) ++lines;
    return lines;
  }

  const TemporaryDirectory dir_;
  const std::string starts_ = dir_ / "starts";
};

TEST_F(SupervisorTest, AWorkerThatDiesIsStartedAgain) {
  EXPECT_EQ(Run("started; [ $(wc -l < $STARTS) -lt 3 ] || exit 0; kill -SEGV $$"), 0);
  EXPECT_EQ(Starts(), 3);
}

TEST_F(SupervisorTest, AWorkerThatFailsIsStartedAgain) {
  EXPECT_EQ(Run("started; [ $(wc -l < $STARTS) -lt 2 ] || exit 0; exit 1"), 0);
  EXPECT_EQ(Starts(), 2);
}

TEST_F(SupervisorTest, WrongFlagsAreNotTriedAgain) {
  EXPECT_EQ(Run("started; exit 2"), 2);
  EXPECT_EQ(Starts(), 1);
}

TEST_F(SupervisorTest, GivesUpOnOneThatDiesAgainAndAgain) {
  EXPECT_EQ(Run("started; kill -ABRT $$", /*most_deaths=*/4), 128 + SIGABRT);
  EXPECT_EQ(Starts(), 4);
}

TEST_F(SupervisorTest, PassesSigtermOnAndEndsWithTheWorker) {
  // Blocked here, so that the thread below inherits it: the signal is for who supervises.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const std::string ready = dir_ / "ready";
  ASSERT_EQ(mkfifo(ready.c_str(), 0600), 0);
  std::thread stopper([&ready] {
    std::ifstream(ready).get();  // waits for who writes
    kill(getpid(), SIGTERM);
  });
  EXPECT_EQ(Run(absl::StrCat("trap 'exit 7' TERM; started; echo up > ", ready,
                             "; while true; do sleep 0.01; done")),
            7)
      << "no new start after it";
  stopper.join();
  EXPECT_EQ(Starts(), 1);
}

}  // namespace
}  // namespace quantmoe
