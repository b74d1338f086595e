# Headers that many sources include and that take longer to read than what is around them to compile. Each set is read once,
# and the targets that name it share the result: quantmoe_precompiled(TARGET words|messages|tensors). Sources still include
# what they use; the preset `fuzz`, with another compiler, and clang-tidy read them without.
set(quantmoe_words
  <absl/container/flat_hash_map.h> <absl/container/flat_hash_set.h> <absl/status/statusor.h> <absl/strings/str_cat.h>
  <absl/strings/str_format.h> <absl/strings/str_join.h> <absl/strings/str_split.h> <absl/synchronization/mutex.h>
  <absl/time/time.h> <algorithm> <filesystem> <functional> <map> <memory> <nlohmann/json.hpp> <optional> <string> <vector>)

# add_precompiled(NAME LIBS target... HEADERS header... [OPTIONS option...])
function(add_precompiled name)
  cmake_parse_arguments(arg "" "" "LIBS;HEADERS;OPTIONS" ${ARGN})
  file(WRITE "${CMAKE_BINARY_DIR}/precompiled/${name}.cc.new" "")
  file(COPY_FILE "${CMAKE_BINARY_DIR}/precompiled/${name}.cc.new" "${CMAKE_BINARY_DIR}/precompiled/${name}.cc" ONLY_IF_DIFFERENT)
  add_library(quantmoe_precompiled_${name} OBJECT "${CMAKE_BINARY_DIR}/precompiled/${name}.cc")
  target_link_libraries(quantmoe_precompiled_${name} PRIVATE quantmoe_warnings ${arg_LIBS})
  target_precompile_headers(quantmoe_precompiled_${name} PRIVATE ${quantmoe_words} ${arg_HEADERS})
  # ccache looks into a source that was preprocessed with it.
  target_compile_options(quantmoe_precompiled_${name} PRIVATE -fpch-preprocess ${arg_OPTIONS})
endfunction()

function(quantmoe_precompiled target name)
  if(QUANTMOE_FUZZ)
    return()
  endif()
  target_precompile_headers(${target} REUSE_FROM quantmoe_precompiled_${name})
  target_compile_options(${target} PRIVATE -fpch-preprocess ${quantmoe_options_of_${name}})
endfunction()

if(NOT QUANTMOE_FUZZ)
  set(word_libraries absl::flat_hash_map absl::flat_hash_set absl::statusor absl::strings absl::str_format absl::synchronization
      absl::time nlohmann_json::nlohmann_json)
  set(message_headers <grpcpp/grpcpp.h> "${CMAKE_BINARY_DIR}/proto/generated/quantmoe/v1/jobs.pb.h")
  add_precompiled(words LIBS ${word_libraries})
  # What reads and writes messages waits for the network and the disk: but for a release it is compiled with less effort.
  if(NOT CMAKE_BUILD_TYPE STREQUAL Release)
    set(quantmoe_options_of_messages -O1)
  endif()
  add_precompiled(messages LIBS ${word_libraries} quantmoe_proto HEADERS ${message_headers} OPTIONS ${quantmoe_options_of_messages})
  if(QUANTMOE_TORCH)
    add_precompiled(tensors LIBS ${word_libraries} quantmoe_torch HEADERS <ATen/ATen.h>)
  endif()
  if(QUANTMOE_TESTS)
    # Tests are compiled without optimisation (tests/CMakeLists.txt), and such a set is another.
    add_precompiled(test_words LIBS ${word_libraries} GTest::gmock HEADERS <gmock/gmock.h> OPTIONS -O0)
    add_precompiled(test_messages LIBS ${word_libraries} GTest::gmock quantmoe_proto HEADERS <gmock/gmock.h> ${message_headers}
                    OPTIONS -O0)
    if(QUANTMOE_TORCH)
      add_precompiled(test_tensors LIBS ${word_libraries} GTest::gmock quantmoe_torch HEADERS <gmock/gmock.h> <ATen/ATen.h> OPTIONS -O0)
    endif()
  endif()
endif()
