// The files of a listener with TLS.
#pragma once

#include <string>

namespace quantmoe {

struct TlsFiles {
  std::string certificate;  // PEM; empty: no TLS
  std::string key;
  std::string client_ca;  // workers must show a certificate of this authority; empty: none is asked for
};

}  // namespace quantmoe
