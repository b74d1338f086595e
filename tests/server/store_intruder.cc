#include "tests/server/store_intruder.h"

#include <httplib.h>

#include <gtest/gtest.h>

#include "base/clock.h"

namespace quantmoe {

StoreIntruder::StoreIntruder(const std::string& data_dir) {
  EXPECT_EQ(sqlite3_open((data_dir + "/state.db").c_str(), &db_), SQLITE_OK);
  sqlite3_busy_timeout(db_, /*ms=*/30'000);
}

StoreIntruder::~StoreIntruder() { sqlite3_close(db_); }

void StoreIntruder::Run(const char* sql) {
  EXPECT_EQ(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sql;
}

int StoreIntruder::Count(const char* sql) {
  sqlite3_stmt* query = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db_, sql, -1, &query, nullptr), SQLITE_OK) << sql;
  EXPECT_EQ(sqlite3_step(query), SQLITE_ROW) << sql;
  const int count = sqlite3_column_int(query, 0);
  sqlite3_finalize(query);
  return count;
}

double MetricOf(RunningServer& server, const std::string& name) {
  const std::string address = server.coordinator().http_address();
  const auto metrics = httplib::Client("http://" + address).Get("/metrics");
  const std::string line = "\n" + name + " ";
  const size_t at = metrics == nullptr ? std::string::npos : metrics->body.find(line);
  return at == std::string::npos ? 0 : std::stod(metrics->body.substr(at + line.size()));
}

int StoreErrors(RunningServer& server) {
  return static_cast<int>(MetricOf(server, "quantmoe_store_errors_total"));
}

void AwaitStoreErrors(RunningServer& server, int before) {
  const absl::Duration end = Clock::Real().Monotonic() + absl::Seconds(30);
  while (StoreErrors(server) <= before && Clock::Real().Monotonic() < end) {
  }
  EXPECT_GT(StoreErrors(server), before);
}

}  // namespace quantmoe
