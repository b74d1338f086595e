#include "tests/server/limited_disk.h"

#include <limits>

#include <gtest/gtest.h>
#include <sqlite3.h>

namespace quantmoe {
namespace {

constexpr char kName[] = "limited-disk";

sqlite3_vfs* real = nullptr;
std::atomic<int64_t> free_bytes{std::numeric_limits<int64_t>::max()};

// SQLite gives memory of szOsFile bytes; the file of the real disk lies behind this.
struct LimitedFile {
  sqlite3_file base;
  sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

LimitedFile& Limited(sqlite3_file* file) { return *reinterpret_cast<LimitedFile*>(file); }

int Write(sqlite3_file* file, const void* bytes, int amount, sqlite3_int64 offset) {
  sqlite3_file* const inner = Limited(file).file();
  sqlite3_int64 size = 0;
  inner->pMethods->xFileSize(inner, &size);
  const int64_t growth = offset + amount - size;
  if (growth > 0 && growth > free_bytes) return SQLITE_FULL;
  const int code = inner->pMethods->xWrite(inner, bytes, amount, offset);
  if (code == SQLITE_OK && growth > 0) free_bytes -= growth;
  return code;
}

template <auto kMethod, typename... Arguments>
auto Forward(sqlite3_file* file, Arguments... arguments) {
  sqlite3_file* const inner = Limited(file).file();
  return (inner->pMethods->*kMethod)(inner, arguments...);
}

using Methods = sqlite3_io_methods;

const Methods kMethods = {
    .iVersion = 2,
    .xClose = [](sqlite3_file* f) { return Forward<&Methods::xClose>(f); },
    .xRead = [](sqlite3_file* f, void* p, int n,
                sqlite3_int64 o) { return Forward<&Methods::xRead>(f, p, n, o); },
    .xWrite = Write,
    .xTruncate = [](sqlite3_file* f, sqlite3_int64 n) { return Forward<&Methods::xTruncate>(f, n); },
    .xSync = [](sqlite3_file* f, int n) { return Forward<&Methods::xSync>(f, n); },
    .xFileSize = [](sqlite3_file* f, sqlite3_int64* n) { return Forward<&Methods::xFileSize>(f, n); },
    .xLock = [](sqlite3_file* f, int n) { return Forward<&Methods::xLock>(f, n); },
    .xUnlock = [](sqlite3_file* f, int n) { return Forward<&Methods::xUnlock>(f, n); },
    .xCheckReservedLock = [](sqlite3_file* f, int* n) { return Forward<&Methods::xCheckReservedLock>(f, n); },
    .xFileControl = [](sqlite3_file* f, int op,
                       void* p) { return Forward<&Methods::xFileControl>(f, op, p); },
    .xSectorSize = [](sqlite3_file* f) { return Forward<&Methods::xSectorSize>(f); },
    .xDeviceCharacteristics = [](sqlite3_file* f) { return Forward<&Methods::xDeviceCharacteristics>(f); },
    .xShmMap = [](sqlite3_file* f, int region, int size, int extend,
                  void volatile** p) { return Forward<&Methods::xShmMap>(f, region, size, extend, p); },
    .xShmLock = [](sqlite3_file* f, int o, int n,
                   int flags) { return Forward<&Methods::xShmLock>(f, o, n, flags); },
    .xShmBarrier = [](sqlite3_file* f) { Forward<&Methods::xShmBarrier>(f); },
    .xShmUnmap = [](sqlite3_file* f, int n) { return Forward<&Methods::xShmUnmap>(f, n); },
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

int Open(sqlite3_vfs*, sqlite3_filename name, sqlite3_file* file, int flags, int* out_flags) {
  LimitedFile& opened = Limited(file);
  opened.base.pMethods = nullptr;
  const int code = real->xOpen(real, name, opened.file(), flags, out_flags);
  if (opened.file()->pMethods != nullptr) opened.base.pMethods = &kMethods;
  return code;
}

sqlite3_vfs limited;

}  // namespace

LimitedDisk::LimitedDisk() {
  real = sqlite3_vfs_find(nullptr);
  limited = *real;
  limited.zName = kName;
  limited.szOsFile = static_cast<int>(sizeof(LimitedFile)) + real->szOsFile;
  limited.xOpen = Open;
  free_bytes = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(sqlite3_vfs_register(&limited, /*makeDflt=*/1), SQLITE_OK);
}

LimitedDisk::~LimitedDisk() {
  sqlite3_vfs_unregister(&limited);
  sqlite3_vfs_register(real, /*makeDflt=*/1);
}

void LimitedDisk::FreeBytes(int64_t bytes) { free_bytes = bytes; }

}  // namespace quantmoe
