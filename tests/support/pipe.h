// A FIFO that gives some bytes once, as what a shell makes of <(...).
#pragma once

#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include <sys/stat.h>

namespace quantmoe {

class Pipe {
 public:
  // Makes the FIFO `path`. Its bytes must be read before it is destroyed.
  Pipe(std::string path, std::string bytes) : path_(std::move(path)) {
    mkfifo(path_.c_str(), 0600);
    writer_ = std::thread([path = path_, bytes = std::move(bytes)] {
      std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    });
  }
  ~Pipe() {
    writer_.join();
    unlink(path_.c_str());
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  const std::string& path() const { return path_; }

 private:
  const std::string path_;
  std::thread writer_;
};

}  // namespace quantmoe
