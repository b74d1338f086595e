// The Hub's HTTP API in this process, on loopback: one model, one data set, a second host that serves large
// files, and faults on demand. Ports are chosen by the system. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace httplib {
class Server;  // NOLINT(bugprone-forward-declaration-namespace): not that of grpc
struct Request;
struct Response;
}  // namespace httplib

namespace quantmoe {

class FakeHub {
 public:
  static constexpr char kRepo[] = "owner/model";
  static constexpr char kDataset[] = "datasets/owner/data";
  static constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";
  static constexpr char kToken[] = "hf_secret";

  struct Request {
    std::string host;  // "hub" or "cdn"
    std::string path;  // as it came, with the query
    std::string range, if_range, authorization;
  };
  // What goes wrong with one request.
  struct Fault {
    int status = 0;  // this answer instead; 0: the right one, with what follows
    std::map<std::string, std::string> headers = {};
    int64_t break_after = -1;      // the connection ends after so many bytes of the body
    int64_t short_by = 0;          // a well-formed body that lacks its end
    bool corrupt = false;          // one byte is another
    bool ignore_range = false;     // 200 and the whole file
    std::string redirect_to = "";  // a Location instead
  };

  FakeHub();
  ~FakeHub();

  // Large files are served by the other host, and named by SHA-256.
  void AddFile(const std::string& path, std::string bytes, bool large);
  void AddDataFile(const std::string& path, std::string bytes, bool large);  // to the data set
  // All plain files of a directory.
  void AddDirectory(const std::string& path);
  // The next request whose host and path ("hub/owner/...") contain `where`; faults queue up.
  void Fail(const std::string& where, Fault fault);
  // Answers 401 to whoever does not show kToken.
  void RequireToken();
  void SetFilesPerPage(size_t files);

  std::string endpoint() const;
  std::string cdn() const;
  std::vector<Request> requests() const;
  int CountRequests(absl::string_view part_of_path) const;
  // Bytes of files that were sent, whole or in part; lists are not counted.
  int64_t file_bytes_sent() const;

 private:
  struct File {
    std::string bytes;
    std::string oid;
    bool large = false;
  };
  struct Host;

  void Serve(Host& host);
  bool Record(const std::string& host, const httplib::Request& request, httplib::Response& response,
              Fault& fault);
  bool ServeRepo(const std::string& repo, const httplib::Request& request, httplib::Response& response,
                 const Fault& fault);
  void ServeRevision(const std::string& repo, const httplib::Request& request, httplib::Response& response);
  void ServeTree(const std::string& repo, const std::string& folder, const httplib::Request& request,
                 httplib::Response& response);
  void ServeResolve(const std::string& repo, const std::string& path, const httplib::Request& request,
                    httplib::Response& response, const Fault& fault);
  void ServeBytes(const File& file, const std::string& tag, const httplib::Request& request,
                  httplib::Response& response, const Fault& fault) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::unique_ptr<Host> hub_, cdn_;
  mutable absl::Mutex mutex_;
  std::map<std::string, std::map<std::string, File>> files_ ABSL_GUARDED_BY(mutex_);  // repo, path
  std::vector<std::pair<std::string, Fault>> faults_ ABSL_GUARDED_BY(mutex_);
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  bool token_required_ ABSL_GUARDED_BY(mutex_) = false;
  size_t files_per_page_ ABSL_GUARDED_BY(mutex_) = 1000;
  int64_t file_bytes_sent_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quantmoe
