# libtorch from the PyPI wheel as own imported targets: find_package(Torch) would ask for a CUDA toolkit
# and define an empty protobuf::libprotobuf (docs/decisions/0002-libtorch-from-the-wheel.md).
set(QUANTMOE_TORCH_DIR "${CMAKE_SOURCE_DIR}/.deps/torch-2.15.0/torch" CACHE PATH "unpacked torch wheel")
if(NOT EXISTS "${QUANTMOE_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "libtorch not found in ${QUANTMOE_TORCH_DIR}: run ./dev setup, or configure with -DQUANTMOE_TORCH=OFF")
endif()
add_library(quantmoe_c10 SHARED IMPORTED GLOBAL)
set_target_properties(quantmoe_c10 PROPERTIES IMPORTED_LOCATION "${QUANTMOE_TORCH_DIR}/lib/libc10.so")
add_library(quantmoe_torch SHARED IMPORTED GLOBAL)
set_target_properties(quantmoe_torch PROPERTIES IMPORTED_LOCATION "${QUANTMOE_TORCH_DIR}/lib/libtorch_cpu.so")
target_include_directories(quantmoe_torch SYSTEM INTERFACE
  "${QUANTMOE_TORCH_DIR}/include" "${QUANTMOE_TORCH_DIR}/include/torch/csrc/api/include")
target_link_libraries(quantmoe_torch INTERFACE quantmoe_c10)
target_link_options(quantmoe_torch INTERFACE "-Wl,--allow-shlib-undefined")
# Where the programs look for libquantmoe_cuda.so (quant/gptq/cuda): beside them when installed, and in the build.
list(APPEND CMAKE_BUILD_RPATH "$ORIGIN/../lib" "${CMAKE_BINARY_DIR}/quant/gptq/cuda")
