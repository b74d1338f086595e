// The flags by which the operator of a program says where models may come from. Header only, so that the
// library does not need a parser of command lines.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/size_flag.h"
#include "sources/model_sources.h"

namespace quantmoe {

inline void AddModelRootFlag(CLI::App& app, ModelSources& sources) {
  app.add_option(
         "--model-root", sources.roots,
         "place below which models may lie: a directory, s3://bucket/prefix, gs://bucket/prefix, hf://, "
         "hf://owner or hf://owner/name; repeatable")
      ->envname("QUANTMOE_MODEL_ROOT");
}

inline void AddHubFlags(CLI::App& app, HubOptions& hub) {
  app.add_option("--hub-endpoint", hub.endpoint, "address of the Hub that hf:// means")
      ->envname("QUANTMOE_HUB_ENDPOINT")
      ->capture_default_str();
  app.add_option("--hub-token-from", hub.token_from, "where the Hub's token is: env:NAME or file:PATH")
      ->envname("QUANTMOE_HUB_TOKEN_FROM")
      ->capture_default_str();
  app.add_option("--hub-cache-dir", hub.cache_dir,
                 "where files of the Hub are kept, for all processes of this user "
                 "(default: quantmoe/hub in the user's cache folder)")
      ->envname("QUANTMOE_HUB_CACHE_DIR");
  app.add_option("--hub-cache-size", hub.cache_bytes, "most bytes to keep there, such as 200GiB; 0: no limit")
      ->envname("QUANTMOE_HUB_CACHE_SIZE")
      ->transform(AsByteSize())
      ->capture_default_str();
  app.add_flag("--hub-plain-http", hub.allow_plain_http, "allow http:// to hosts that are not loopback")
      ->envname("QUANTMOE_HUB_PLAIN_HTTP");
}

}  // namespace quantmoe
