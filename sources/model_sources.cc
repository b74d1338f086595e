#include "sources/model_sources.h"

#include "absl/strings/str_cat.h"
#include <sys/stat.h>

#include "base/error_info.h"
#include "base/status_macros.h"
#include "sources/hub_client.h"
#include "sources/hub_directory.h"
#include "sources/local_directory.h"
#include "sources/model_uri.h"
#include "sources/object_store_directory.h"

namespace quantmoe {
namespace {

void CheckRoot(const std::string& text, std::vector<FieldViolation>& violations) {
  const absl::StatusOr<ModelUri> root = ParseModelRoot(text);
  if (!root.ok()) {
    for (const FieldViolation& violation : GetErrorInfo(root.status()).violations) {
      violations.push_back({"--model-root", violation.description});
    }
    return;
  }
  struct stat info {};
  if (root->scheme != ModelUri::Scheme::kFile) return;
  if (::stat(root->path.c_str(), &info) != 0) {
    violations.push_back({"--model-root", absl::StrCat(text, " does not exist")});
  } else if (!S_ISDIR(info.st_mode)) {
    violations.push_back({"--model-root", absl::StrCat(text, " is no directory")});
  }
}

}  // namespace

absl::Status CheckModelSources(const ModelSources& sources) {
  std::vector<FieldViolation> violations;
  for (const std::string& root : sources.roots) CheckRoot(root, violations);
  if (const auto endpoint = ParseHubEndpoint(sources.hub); !endpoint.ok()) {
    violations.push_back({"--hub-endpoint", std::string(endpoint.status().message())});
  }
  if (const auto token = ReadHubToken(sources.hub.token_from); !token.ok()) {
    violations.push_back({"--hub-token-from", std::string(token.status().message())});
  }
  return InvalidFields(std::move(violations));
}

absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenModelDirectory(const ModelUri& uri,
                                                                   const HubOptions& hub) {
  switch (uri.scheme) {
    case ModelUri::Scheme::kHub:
      return OpenHubDirectory(uri, hub);
    case ModelUri::Scheme::kFile:
      return OpenLocalDirectory(uri);
    default:
      return OpenObjectStoreDirectory(uri);
  }
}

absl::StatusOr<std::unique_ptr<ModelDirectory>> OpenModel(absl::string_view text,
                                                          const ModelSources& sources) {
  ASSIGN_OR_RETURN(ModelUri uri, ParseModelUri(text));
  if (sources.confined) {
    ASSIGN_OR_RETURN(uri, ConfineModelUri(uri, sources.roots));
  }
  return OpenModelDirectory(uri, sources.hub);
}

}  // namespace quantmoe
