// model.safetensors.index.json over one sound weight file: a checkpoint whose tensors can be read, or an
// error.
#include "sources/checkpoint.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/memory_model.h"
#include "tests/storage/test_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantmoe;
  const auto model = std::make_shared<MemoryModel>(
      std::map<std::string, std::string>{{"config.json", "{}"},
                                         {"model-1.safetensors", SmallSafetensors({"a", "b"})},
                                         {"model.safetensors.index.json", std::string(TextOf(data, size))}});
  if (const auto checkpoint = Checkpoint::Open(model); checkpoint.ok()) {
    for (const auto& [name, location] : (*checkpoint)->tensors())
      Require((*checkpoint)->Read(name).ok(), "a tensor of an opened checkpoint can be read");
  }
  Checkpoint::Damage damage;
  (void)Checkpoint::OpenDamaged(model, damage);
  return 0;
}
