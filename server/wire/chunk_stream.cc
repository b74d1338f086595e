#include "server/wire/chunk_stream.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"

#include "server/wire/write_queue_reactor.h"
#include "storage/mapped_reads.h"

namespace quantmoe {
namespace {

using Base = WriteQueueReactor<grpc::ServerWriteReactor<v1::Chunk>, v1::Chunk>;

class ChunkStream final : public Base {
 public:
  ChunkStream(ServiceContext& context, Executor& room, const char* service, const char* method,
              int64_t offset)
      : Base(context, service, method), context_(context), room_(room), offset_(offset) {}

  void Start(const google::protobuf::Message& request, std::function<absl::StatusOr<FileOpener>()> locate) {
    KeepAlive();
    if (const absl::Status status = CheckFieldLimits(request); !status.ok()) return FinishAfterWrites(status);
    const bool queued = context_.loop.Offer([this, self = shared_from_this(), locate = std::move(locate)] {
      auto open = locate();
      if (!open.ok()) return FinishAfterWrites(open.status());
      PostToRoom([this, open = *std::move(open)] { Open(open); });
    });
    if (!queued) FinishAfterWrites(QueueFull());
  }

 private:
  void OnDrained() override {
    PostToRoom([this] { SendNext(); });
  }

  void PostToRoom(std::function<void()> work) {
    auto run = [self = shared_from_this(), work = std::move(work)] { work(); };
    if (!room_.Post(std::move(run))) FinishAfterWrites(QueueFull());
  }

  void Open(const FileOpener& open) {
    auto file = open();
    if (!file.ok()) return FinishAfterWrites(file.status());
    file_ = *std::move(file);
    const int64_t size = static_cast<int64_t>(file_.bytes().size());
    if (offset_ < 0 || offset_ > size) {
      return FinishAfterWrites(MakeError(absl::StatusCode::kOutOfRange, "OFFSET_OUT_OF_RANGE",
                                         absl::StrCat("offset ", offset_, " of ", size, " bytes")));
    }
    SendNext();
  }

  void SendNext() {
    const int64_t size = static_cast<int64_t>(file_.bytes().size());
    if (offset_ >= size) return FinishAfterWrites(absl::OkStatus());
    const int64_t length = std::min(kChunkBytes, size - offset_);
    v1::Chunk chunk;
    chunk.set_offset(offset_);
    chunk.set_data(std::string(file_.bytes().substr(offset_, length)));
    if (const absl::Status read = CheckMappedRead(file_.bytes()); !read.ok()) return FinishAfterWrites(read);
    offset_ += length;
    context_.metrics.BlobBytes("download", length);
    Write(std::move(chunk));
  }

  ServiceContext& context_;
  Executor& room_;
  int64_t offset_;
  MappedFile file_;
};

}  // namespace

grpc::ServerWriteReactor<v1::Chunk>* StartChunkStream(ServiceContext& context, Executor& room,
                                                      const char* service, const char* method,
                                                      const google::protobuf::Message& request,
                                                      int64_t offset,
                                                      std::function<absl::StatusOr<FileOpener>()> locate) {
  auto stream = std::make_shared<ChunkStream>(context, room, service, method, offset);
  stream->Start(request, std::move(locate));
  return stream.get();
}

}  // namespace quantmoe
