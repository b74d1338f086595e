#include "tests/support/fake_hub.h"

#include <httplib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include <nlohmann/json.hpp>
#include <openssl/sha.h>

namespace quantmoe {
namespace {

// What a signed address may hold, and must come back as it was.
constexpr char kSignature[] = "X-Signature=a+b%2Fc,d;e&Expires=1";

std::string Hex(const unsigned char* digest, size_t size) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), size));
}

std::string OidOf(const std::string& bytes, bool large) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  if (large) {
    SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
    return Hex(digest, SHA256_DIGEST_LENGTH);
  }
  const std::string blob = absl::StrCat("blob ", bytes.size(), std::string(1, '\0'), bytes);
  SHA1(reinterpret_cast<const unsigned char*>(blob.data()), blob.size(), digest);
  return Hex(digest, SHA_DIGEST_LENGTH);
}

}  // namespace

struct FakeHub::Host {
  std::string name;
  httplib::Server server;
  int port = 0;
  std::thread thread;

  std::string address() const { return absl::StrCat("http://127.0.0.1:", port); }
};

FakeHub::FakeHub() : hub_(std::make_unique<Host>()), cdn_(std::make_unique<Host>()) {
  hub_->name = "hub";
  cdn_->name = "cdn";
  Serve(*hub_);
  Serve(*cdn_);
}

FakeHub::~FakeHub() {
  for (Host* host : {hub_.get(), cdn_.get()}) {
    host->server.stop();
    host->thread.join();
  }
}

void FakeHub::Serve(Host& host) {
  host.server.new_task_queue = [] { return new httplib::ThreadPool(4); };  // owned by the server
  host.server.set_keep_alive_timeout(1);
  host.server.Get(".*", [this, &host](const httplib::Request& request, httplib::Response& response) {
    Fault fault;
    if (!Record(host.name, request, response, fault)) return;
    if (ServeRepo(kRepo, request, response, fault) || ServeRepo(kDataset, request, response, fault)) {
      return;
    } else if (&host == cdn_.get()) {
      absl::MutexLock lock(&mutex_);
      for (const auto& [repo, files] : files_) {
        for (const auto& [path, file] : files) {
          if (request.path == "/" + file.oid && absl::EndsWith(request.target, kSignature)) {
            return ServeBytes(file, "cdn-" + file.oid, request, response, fault);
          }
        }
      }
      response.status = 403;
    } else {
      response.status = 404;
    }
  });
  host.port = host.server.bind_to_any_port("127.0.0.1");
  host.thread = std::thread([&host] { host.server.listen_after_bind(); });
}

// Also answers, with false, where a fault is an answer of its own.
bool FakeHub::Record(const std::string& host, const httplib::Request& request, httplib::Response& response,
                     Fault& fault) {
  // The library would cut the body once more.
  const_cast<httplib::Request&>(request).ranges.clear();
  absl::MutexLock lock(&mutex_);
  requests_.push_back({host, request.target, request.get_header_value("Range"),
                       request.get_header_value("If-Range"), request.get_header_value("Authorization")});
  const auto matches = [&](const auto& entry) {
    return absl::StrContains(absl::StrCat(host, request.target), entry.first);
  };
  if (const auto found = std::find_if(faults_.begin(), faults_.end(), matches); found != faults_.end()) {
    fault = found->second;
    faults_.erase(found);
  } else if (host == "hub" && token_required_ &&
             request.get_header_value("Authorization") != absl::StrCat("Bearer ", kToken)) {
    fault.status = 401;
  }
  for (const auto& [name, value] : fault.headers) response.set_header(name, value);
  if (!fault.redirect_to.empty()) response.set_redirect(fault.redirect_to);
  if (fault.status != 0) {
    response.status = fault.status;
    response.set_content("the body of an error", "text/plain");
  }
  return fault.status == 0 && fault.redirect_to.empty();
}

// False for paths that are none of this repository.
bool FakeHub::ServeRepo(const std::string& repo, const httplib::Request& request, httplib::Response& response,
                        const Fault& fault) {
  const std::string api = absl::StrCat("/api/", repo == kRepo ? "models/" : "", repo);
  const std::string tree = absl::StrCat(api, "/tree/", kCommit);
  const std::string resolve = absl::StrCat("/", repo, "/resolve/", kCommit, "/");
  if (absl::StartsWith(request.path, api + "/revision/")) {
    ServeRevision(repo, request, response);
  } else if (request.path == tree || absl::StartsWith(request.path, tree + "/")) {
    ServeTree(repo, request.path == tree ? "" : request.path.substr(tree.size() + 1) + "/", request,
              response);
  } else if (absl::StartsWith(request.path, resolve)) {
    ServeResolve(repo, request.path.substr(resolve.size()), request, response, fault);
  } else {
    return false;
  }
  return true;
}

void FakeHub::ServeRevision(const std::string& repo, const httplib::Request& request,
                            httplib::Response& response) {
  for (const char* known : {"main", "v1.beta", "refs%2Fpr%2F1", "refs%2Fconvert%2Fparquet"}) {
    if (!absl::EndsWith(request.target, absl::StrCat("/revision/", known))) continue;
    response.set_content(nlohmann::json{{"id", repo}, {"sha", kCommit}}.dump(), "application/json");
    return;
  }
  response.status = 404;
  response.set_header("X-Error-Code", "RevisionNotFound");
  response.set_header("X-Error-Message", "Invalid rev id");
}

// What lies in the folder ("" or with a slash at its end), not what lies deeper.
void FakeHub::ServeTree(const std::string& repo, const std::string& folder, const httplib::Request& request,
                        httplib::Response& response) {
  absl::MutexLock lock(&mutex_);
  size_t first = 0;
  if (request.has_param("cursor")) first = std::stoul(request.get_param_value("cursor"));
  nlohmann::json page =
      nlohmann::json::array({{{"type", "directory"}, {"path", "folder"}, {"oid", "0"}, {"size", 0}}});
  size_t number = 0;
  for (const auto& [path, file] : files_[repo]) {
    if (!absl::StartsWith(path, folder) || absl::StrContains(path.substr(folder.size()), '/')) continue;
    if (number >= first && number < first + files_per_page_) {
      nlohmann::json entry = {
          {"type", "file"}, {"path", path}, {"size", file.bytes.size()}, {"oid", file.oid}};
      if (file.large) {
        entry["oid"] = std::string(40, '0');
        entry["lfs"] = {{"oid", file.oid}, {"size", file.bytes.size()}, {"pointerSize", 130}};
      }
      page.push_back(std::move(entry));
    }
    ++number;
  }
  if (number == 0 && !folder.empty()) {
    response.status = 404;
    response.set_header("X-Error-Message", "Path does not exist");
    return;
  }
  if (number > first + files_per_page_) {
    response.set_header("Link", absl::StrCat("<", hub_->address(), request.path,
                                             "?cursor=", first + files_per_page_, ">; rel=\"next\""));
  }
  response.set_content(page.dump(), "application/json");
}

void FakeHub::ServeResolve(const std::string& repo, const std::string& path, const httplib::Request& request,
                           httplib::Response& response, const Fault& fault) {
  absl::MutexLock lock(&mutex_);
  const auto found = files_[repo].find(path);
  if (found == files_[repo].end()) {
    response.status = 404;
    response.set_header("X-Error-Message", "Entry not found");
    return;
  }
  const File& file = found->second;
  if (!response.has_header("X-Repo-Commit")) response.set_header("X-Repo-Commit", kCommit);
  if (!file.large) return ServeBytes(file, file.oid, request, response, fault);
  if (!response.has_header("X-Linked-Etag"))
    response.set_header("X-Linked-Etag", absl::StrCat("\"", file.oid, "\""));
  response.set_header("X-Linked-Size", absl::StrCat(file.bytes.size()));
  response.set_redirect(absl::StrCat(cdn_->address(), "/", file.oid, "?", kSignature));
}

void FakeHub::ServeBytes(const File& file, const std::string& tag, const httplib::Request& request,
                         httplib::Response& response, const Fault& fault) {
  size_t first = 0, last = file.bytes.size() - 1;
  const std::string range = request.get_header_value("Range"),
                    if_range = request.get_header_value("If-Range");
  const std::string quoted = absl::StrCat("\"", tag, "\"");
  if (!range.empty() && !fault.ignore_range && (if_range.empty() || if_range == quoted)) {
    if (std::sscanf(range.c_str(), "bytes=%zu-%zu", &first, &last) != 2 || first > last ||
        last >= file.bytes.size()) {
      response.status = 416;
      return;
    }
    response.status = 206;
    response.set_header("Content-Range", absl::StrCat("bytes ", first, "-", last, "/", file.bytes.size()));
  } else {
    response.status = 200;
  }
  response.set_header("ETag", quoted);
  std::string body = file.bytes.substr(first, last + 1 - first - static_cast<size_t>(fault.short_by));
  if (fault.corrupt) body[body.size() / 2] ^= 1;
  const size_t sent = fault.break_after < 0 ? body.size() : static_cast<size_t>(fault.break_after);
  file_bytes_sent_ += static_cast<int64_t>(sent);
  if (fault.break_after < 0) return response.set_content(body, "application/octet-stream");
  response.set_content_provider(body.size(), "application/octet-stream",
                                [body, sent](size_t offset, size_t, httplib::DataSink& sink) {
                                  if (offset < sent) sink.write(body.data() + offset, sent - offset);
                                  return offset < sent;
                                });
}

void FakeHub::AddFile(const std::string& path, std::string bytes, bool large) {
  absl::MutexLock lock(&mutex_);
  const std::string oid = OidOf(bytes, large);
  files_[kRepo][path] = {std::move(bytes), oid, large};
}

void FakeHub::AddDataFile(const std::string& path, std::string bytes, bool large) {
  absl::MutexLock lock(&mutex_);
  const std::string oid = OidOf(bytes, large);
  files_[kDataset][path] = {std::move(bytes), oid, large};
}

void FakeHub::AddDirectory(const std::string& path) {
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    AddFile(entry.path().filename().string(),
            {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()},
            entry.path().extension() == ".safetensors");
  }
}

void FakeHub::Fail(const std::string& where, Fault fault) {
  absl::MutexLock lock(&mutex_);
  faults_.emplace_back(where, std::move(fault));
}

void FakeHub::RequireToken() {
  absl::MutexLock lock(&mutex_);
  token_required_ = true;
}

void FakeHub::SetFilesPerPage(size_t files) {
  absl::MutexLock lock(&mutex_);
  files_per_page_ = files;
}

std::string FakeHub::endpoint() const { return hub_->address(); }
std::string FakeHub::cdn() const { return cdn_->address(); }

std::vector<FakeHub::Request> FakeHub::requests() const {
  absl::MutexLock lock(&mutex_);
  return requests_;
}

int FakeHub::CountRequests(absl::string_view part_of_path) const {
  int count = 0;
  for (const Request& request : requests()) count += absl::StrContains(request.path, part_of_path) ? 1 : 0;
  return count;
}

int64_t FakeHub::file_bytes_sent() const {
  absl::MutexLock lock(&mutex_);
  return file_bytes_sent_;
}

}  // namespace quantmoe
