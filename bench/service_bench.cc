// The service without numerics: MB/s of blob streams over loopback against the machine's own SHA-256 and
// memory copy, and the latency of job submission (config and headers are read, the job is durable when it is
// answered).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "quantmoe/v1/blobs.grpc.pb.h"
#include "quantmoe/v1/jobs.grpc.pb.h"
#include "server/coordinator.h"
#include "storage/digest.h"

namespace quantmoe {
namespace {

constexpr size_t kBlobBytes = size_t{256} << 20;
constexpr size_t kChunkBytes = size_t{2} << 20;
constexpr int kJobs = 200;

double Time(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Check(const grpc::Status& status, const char* what) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", what, status.error_message().c_str());
  std::exit(1);
}

std::string RandomBytes() {
  std::string bytes(kBlobBytes, '\0');
  uint64_t state = 88172645463325252ull;
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(&bytes[i], &state, 8);
  }
  return bytes;
}

void Upload(v1::BlobService::Stub& blobs, const std::string& bytes, const Digest& digest) {
  grpc::ClientContext context;
  v1::UploadBlobResponse response;
  auto writer = blobs.UploadBlob(&context, &response);
  v1::UploadBlobRequest first;
  first.mutable_digest()->set_sha256(digest.sha256);
  first.mutable_digest()->set_size_bytes(digest.size_bytes);
  writer->Write(first);
  for (size_t offset = 0; offset < bytes.size(); offset += kChunkBytes) {
    v1::UploadBlobRequest request;
    request.mutable_chunk()->set_offset(static_cast<int64_t>(offset));
    request.mutable_chunk()->set_data(bytes.substr(offset, kChunkBytes));
    if (!writer->Write(request)) break;
  }
  writer->WritesDone();
  Check(writer->Finish(), "upload");
}

size_t Download(v1::BlobService::Stub& blobs, const Digest& digest) {
  grpc::ClientContext context;
  v1::DownloadBlobRequest request;
  request.mutable_digest()->set_sha256(digest.sha256);
  request.mutable_digest()->set_size_bytes(digest.size_bytes);
  auto reader = blobs.DownloadBlob(&context, request);
  v1::Chunk chunk;
  size_t received = 0;
  while (reader->Read(&chunk)) received += chunk.data().size();
  Check(reader->Finish(), "download");
  return received;
}

void BenchStreams(const std::shared_ptr<grpc::Channel>& channel) {
  const auto blobs = v1::BlobService::NewStub(channel);
  const std::string bytes = RandomBytes();
  const double mb = static_cast<double>(bytes.size()) / 1e6;
  Digest digest;
  const double hash = Time([&] { digest = DigestOf(bytes); });
  std::string copy;
  const double memory = Time([&] { copy = bytes; });
  const double up = Time([&] { Upload(*blobs, bytes, digest); });
  size_t received = 0;
  const double down = Time([&] { received = Download(*blobs, digest); });
  if (received != bytes.size()) std::exit(1);
  std::printf("memory copy      %7.0f MB/s\nSHA-256          %7.0f MB/s\n", mb / memory, mb / hash);
  std::printf("blob upload      %7.0f MB/s  %.2f of SHA-256 (hashed, synced, renamed)\n", mb / up, hash / up);
  std::printf("blob download    %7.0f MB/s  %.2f of SHA-256\n", mb / down, hash / down);
}

void BenchSubmit(const std::shared_ptr<grpc::Channel>& channel) {
  const auto jobs = v1::JobService::NewStub(channel);
  std::vector<double> seconds;
  for (int i = 0; i < kJobs; ++i) {
    v1::CreateJobRequest request;
    v1::JobSpec& spec = *request.mutable_job()->mutable_spec();
    spec.mutable_model()->set_uri(QUANTMOE_TESTDATA "/tiny-qwen2-moe");
    spec.mutable_budget()->set_average_bits(3);
    spec.mutable_heuristic()->set_name("optimal");
    grpc::ClientContext context;
    v1::Job job;
    seconds.push_back(Time([&] { Check(jobs->CreateJob(&context, request, &job), "submit"); }));
  }
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) { return 1e3 * seconds[static_cast<size_t>(share * (kJobs - 1))]; };
  std::printf(
      "submit, %d jobs  p50 %.1f ms  p99 %.1f ms  (449 tensor headers read, SQLite synchronous=FULL)\n",
      kJobs, at(0.5), at(0.99));
}

}  // namespace
}  // namespace quantmoe

int main() {
  std::string dir = (std::filesystem::temp_directory_path() / "quantmoe-bench-XXXXXX").string();
  if (mkdtemp(dir.data()) == nullptr) return 1;
  {
    quantmoe::CoordinatorOptions options;
    options.data_dir = dir;
    options.models.roots = {QUANTMOE_TESTDATA};
    auto coordinator = quantmoe::Coordinator::Start(options);
    if (!coordinator.ok()) {
      std::fprintf(stderr, "%s\n", std::string(coordinator.status().message()).c_str());
      return 1;
    }
    const auto channel = grpc::CreateChannel((*coordinator)->address(), grpc::InsecureChannelCredentials());
    quantmoe::BenchStreams(channel);
    quantmoe::BenchSubmit(channel);
  }
  std::filesystem::remove_all(dir);
  return 0;
}
