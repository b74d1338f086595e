// Looks for earlier results of tasks that are about to run: what the state store remembers of their keys, and
// whether the blobs are still there. That reads the database and the disk, so it is done in a room, for many
// tasks at a time; the answers come back as one operation of the commit loop.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/facts/loop_thread.h"
#include "server/facts/state_store.h"
#include "server/loop/commit_loop.h"
#include "server/loop/executor.h"
#include "storage/blob_store.h"

namespace quantmoe {

class ResultLookup {
 public:
  struct Wanted {
    std::string job;
    std::string task;  // label
    std::string key;
  };
  struct Answer {
    Wanted wanted;
    // Of the earlier result, which is whole; empty when there is none.
    std::vector<v1::TaskBlob> outputs = {};
    // There was one and its blobs are gone: it may be forgotten.
    bool lost = false;
  };
  // `answered` is called on the loop, once for everything that was wanted.
  ResultLookup(StateStore& store, LocalBlobStore& blobs, CommitLoop& loop, Executor& room,
               std::function<void(const std::vector<Answer>&)> answered)
      : store_(store), blobs_(blobs), loop_(loop), room_(room), answered_(std::move(answered)) {}

  // Notes what is wanted; Start asks for it.
  void Want(Wanted wanted) ON_LOOP { wanted_.push_back(std::move(wanted)); }
  // Takes everything that is noted to the room; what finds the room full goes with the next call.
  void Start() ON_LOOP;

 private:
  std::vector<Answer> Read(const std::vector<Wanted>& wanted) const NEVER_ON_LOOP;
  Answer CheckBlobs(const Wanted& wanted, const CachedResult& found) const NEVER_ON_LOOP;

  StateStore& store_;
  LocalBlobStore& blobs_;
  CommitLoop& loop_;
  Executor& room_;
  const std::function<void(const std::vector<Answer>&)> answered_;
  std::vector<Wanted> wanted_ OF_LOOP;
};

}  // namespace quantmoe
