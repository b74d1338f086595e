#include "client/transfer/upload.h"

#include "tests/client/fake_server.h"
#include "tests/support/pipe.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace quantmoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kChunk = 2 << 20;

class UploadTest : public ::testing::Test {
 protected:
  // Larger than two chunks, and not periodic in the chunk size.
  std::string LargeText() const {
    std::string text(static_cast<size_t>(2 * kChunk + 12345), '\0');
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 2654435761u >> 13);
    return text;
  }

  FakeServer server_;
  TemporaryDirectory files_;
  FileUploads uploads_;
};

TEST_F(UploadTest, SendsWhatTheServerLacks) {
  const std::string text = LargeText();
  ASSERT_THAT(uploads_.Add(files_.Write("large", text)), IsOk());
  ASSERT_THAT(uploads_.Add(files_.Write("known", "known")), IsOk());
  server_.blobs.stored[DigestOf("known").sha256] = "known";
  ASSERT_THAT(uploads_.Send(*server_.Connect()), IsOk());
  EXPECT_EQ(server_.blobs.stored[DigestOf(text).sha256], text);
  EXPECT_EQ(server_.blobs.first_offsets.size(), 1u);
  EXPECT_EQ(server_.blobs.largest_chunk, static_cast<size_t>(kChunk));
}

TEST_F(UploadTest, GoesOnWhereABrokenUploadStopped) {
  const std::string text = LargeText();
  ASSERT_THAT(uploads_.Add(files_.Write("large", text)), IsOk());
  server_.blobs.breaks = 2;
  ASSERT_THAT(uploads_.Send(*server_.Connect()), IsOk());
  EXPECT_EQ(server_.blobs.stored[DigestOf(text).sha256], text);
  EXPECT_THAT(server_.blobs.first_offsets, ElementsAre(0, kChunk, 2 * kChunk));
}

TEST_F(UploadTest, WhatArrivesDamagedIsSentAgainAndNotForEver) {
  ASSERT_THAT(uploads_.Add(files_.Write("file", "text")), IsOk());
  server_.blobs.damaged = 2;
  ASSERT_THAT(uploads_.Send(*server_.Connect()), IsOk());
  EXPECT_EQ(server_.blobs.stored[DigestOf("text").sha256], "text");
  EXPECT_EQ(server_.blobs.first_offsets.size(), 3u);
  server_.blobs.stored.clear();
  server_.blobs.damaged = 1000;
  EXPECT_THAT(uploads_.Send(*server_.Connect()), HasReason("DIGEST_MISMATCH"));
}

TEST_F(UploadTest, GivesUpWithoutProgress) {
  ASSERT_THAT(uploads_.Add(files_.Write("file", "text")), IsOk());
  server_.blobs.breaks = 1000;
  server_.blobs.progress_before_break = false;
  EXPECT_THAT(uploads_.Send(*server_.Connect()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(server_.blobs.stored, IsEmpty());
}

TEST_F(UploadTest, RefusesAFileThatChanged) {
  ASSERT_THAT(uploads_.Add(files_.Write("file", "text")), IsOk());
  files_.Write("file", "tex2");
  EXPECT_THAT(uploads_.Send(*server_.Connect()), StatusIs(absl::StatusCode::kInvalidArgument));
  files_.Write("file", "");
  EXPECT_FALSE(uploads_.Send(*server_.Connect()).ok());
}

TEST_F(UploadTest, APipeIsReadOnceAndSentWhole) {
  const std::string text = LargeText();
  const Pipe pipe(files_ / "pipe", text);
  EXPECT_THAT(uploads_.Add(pipe.path()), IsOkAndHolds(DigestOf(text)));
  EXPECT_THAT(uploads_.Add(pipe.path()), IsOkAndHolds(DigestOf(text)));
  server_.blobs.breaks = 1;
  server_.blobs.damaged = 1;
  ASSERT_THAT(uploads_.Send(*server_.Connect()), IsOk());
  EXPECT_EQ(server_.blobs.stored[DigestOf(text).sha256], text);
}

TEST_F(UploadTest, WhatHasNoEndOrNoTextIsRefused) {
  EXPECT_THAT(uploads_.Add("/dev/zero"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("256 MiB")));
  for (const char* text : {"", " \n\t"}) {
    EXPECT_THAT(uploads_.Add(files_.Write("blank", text)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("blank is empty")));
  }
  EXPECT_EQ(uploads_.size(), 0u);
}

TEST_F(UploadTest, UnreadableFilesAreNamed) {
  EXPECT_THAT(uploads_.Add(files_ / "none"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(uploads_.Add(files_.path()).ok()) << "a directory";
}

}  // namespace
}  // namespace quantmoe
