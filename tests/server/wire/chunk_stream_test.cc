// Files that somebody else cuts while clients download them.
#include "server/wire/chunk_stream.h"

#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

#include "base/error_info.h"
#include "proto/grpc_status.h"
#include "storage/blob_store.h"
#include "tests/server/running_server.h"
#include "tests/support/status_matchers.h"

namespace quantmoe {
namespace {

// More than what a stream sends to a client that does not read.
constexpr size_t kBytes = 64 << 20;

TEST(ChunkStreamTest, ABlobThatIsCutEndsItsDownloadAndNothingElse) {
  RunningServer server;
  ASSERT_OK_AND_ASSIGN(const auto store, LocalBlobStore::Open(server.data_dir() + "/blobs"));
  ASSERT_OK_AND_ASSIGN(const Digest digest, store->Put(std::string(kBytes, 'x')));
  v1::DownloadBlobRequest request;
  request.mutable_digest()->set_sha256(digest.sha256);
  request.mutable_digest()->set_size_bytes(digest.size_bytes);
  const auto context = WithDeadline();
  const auto download = server.blobs().DownloadBlob(context.get(), request);
  v1::Chunk chunk;
  ASSERT_TRUE(download->Read(&chunk));
  EXPECT_EQ(chunk.data()[0], 'x');
  ASSERT_EQ(::truncate(store->PathOf(digest).c_str(), 4096), 0);
  size_t foreign = 0;
  while (download->Read(&chunk)) foreign += chunk.data().find_first_not_of('x') != std::string::npos ? 1 : 0;
  EXPECT_EQ(foreign, 0u) << "no byte that was never in the file is sent";
  EXPECT_THAT(FromGrpcStatus(download->Finish()),
              testing::AllOf(StatusIs(absl::StatusCode::kDataLoss), HasReason("DIGEST_MISMATCH")));

  const auto again_context = WithDeadline();
  const auto again = server.blobs().DownloadBlob(again_context.get(), request);
  EXPECT_FALSE(again->Read(&chunk));
  EXPECT_THAT(FromGrpcStatus(again->Finish()), HasReason("DIGEST_MISMATCH"));
  EXPECT_THAT(store->Contains(digest), IsOkAndHolds(false)) << "it is set aside";
}

}  // namespace
}  // namespace quantmoe
