// Another connection to a coordinator's database, which makes its commits fail; and what the coordinator says
// of that.
#pragma once

#include <string>

#include <sqlite3.h>

#include "tests/server/running_server.h"

namespace quantmoe {

class StoreIntruder {
 public:
  explicit StoreIntruder(const std::string& data_dir);
  ~StoreIntruder();
  StoreIntruder(const StoreIntruder&) = delete;
  StoreIntruder& operator=(const StoreIntruder&) = delete;

  void Run(const char* sql);
  // Of a query for one number.
  int Count(const char* sql);

 private:
  sqlite3* db_ = nullptr;
};

// The value of a metric without labels; 0 until there is one.
double MetricOf(RunningServer& server, const std::string& name);
// How many commits have failed.
int StoreErrors(RunningServer& server);
// Waits until more have failed than `before`.
void AwaitStoreErrors(RunningServer& server, int before);

}  // namespace quantmoe
