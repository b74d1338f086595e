#include "server/loop/rooms.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/strings/match.h"

namespace quantmoe {
namespace {

bool IsOnHub(absl::string_view uri) { return absl::StartsWithIgnoreCase(uri, "hf://"); }

bool IsInObjectStore(absl::string_view uri) {
  return absl::StartsWithIgnoreCase(uri, "s3://") || absl::StartsWithIgnoreCase(uri, "gs://");
}

std::vector<absl::string_view> NamedPlaces(const v1::JobSpec& spec) {
  std::vector<absl::string_view> uris = {spec.model().uri(), spec.calibration().text_uri(),
                                         spec.evaluation().perplexity_text_uri()};
  for (const v1::BenchmarkTask& task : spec.evaluation().tasks()) {
    uris.emplace_back(task.data_uri());
    uris.emplace_back(task.fewshot_data_uri());
  }
  return uris;
}

}  // namespace

Executor& Rooms::For(absl::string_view uri) {
  if (IsOnHub(uri)) return hub;
  return IsInObjectStore(uri) ? object_stores : models;
}

Executor& Rooms::For(const v1::JobSpec& spec) {
  const std::vector<absl::string_view> uris = NamedPlaces(spec);
  if (std::any_of(uris.begin(), uris.end(), IsOnHub)) return hub;
  return std::any_of(uris.begin(), uris.end(), IsInObjectStore) ? object_stores : models;
}

void Rooms::InterruptReadsFromOutside() {
  hub.Interrupt();
  object_stores.Interrupt();
}

void Rooms::Stop() {
  const std::initializer_list<Executor*> all = {&results, &watches,       &reads, &models,
                                                &hub,     &object_stores, &blobs, &worker_blobs,
                                                &steps,   &lookups,       &disk};
  for (Executor* room : all) room->Interrupt();
  for (Executor* room : all) room->Stop();
}

}  // namespace quantmoe
