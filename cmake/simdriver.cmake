# The simulated driver, once for each tier, and the native tests of the CUDA side. All of it is built by name only.
#   simdriver          build/simdriver/libcuda.so.1          kernels as they are
#   simdriver_checked  build/simdriver-checked/libcuda.so.1  kernels instrumented: every access calls the SIMT layer's __tsan_* functions
# splitwiser_cuda_tests are the native tests of kernels and backend, simdriver_tests those of the simulator's detectors, ptx_functions is what
# `npm run test:ptx` compares with nvcc's PTX.
set(simdriver_folder "${CMAKE_CURRENT_SOURCE_DIR}/test/simdriver")
set(ptx_folder "${CMAKE_CURRENT_SOURCE_DIR}/test/ptx")
file(GLOB driver_sources CONFIGURE_DEPENDS "${simdriver_folder}/driver/*.cpp")
file(GLOB simt_sources CONFIGURE_DEPENDS "${simdriver_folder}/simt/*.cpp")
file(GLOB kernel_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/kernels/*.cu")

add_library(simdriver_options INTERFACE)
target_include_directories(simdriver_options INTERFACE "${simdriver_folder}" kernels)
target_include_directories(simdriver_options SYSTEM INTERFACE "${SPLITWISER_CUDA_INCLUDE}")
target_link_libraries(simdriver_options INTERFACE Threads::Threads)
target_compile_options(simdriver_options INTERFACE -Wall -Wextra -ffp-contract=off -O2)

# What both tiers share.
add_library(simdriver_simt OBJECT EXCLUDE_FROM_ALL ${simt_sources})
target_link_libraries(simdriver_simt PRIVATE simdriver_options)
add_library(simdriver_driver OBJECT EXCLUDE_FROM_ALL ${driver_sources})
target_link_libraries(simdriver_driver PRIVATE simdriver_options)

# CUDA sources as C++. Checked: instrumented, with the callbacks that the SIMT layer defines.
function(add_kernel_objects name checked)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${ARGN})
  target_link_libraries(${name} PRIVATE simdriver_options)
  target_compile_options(${name} PRIVATE "SHELL:-x c++" -Wno-unknown-pragmas)  # "#pragma unroll" is for nvcc
  if(checked)
    target_compile_options(${name} PRIVATE -fsanitize=thread)
  endif()
endfunction()

function(add_simdriver name folder checked)
  add_kernel_objects(${name}_kernels ${checked} ${ARGN})
  set(exports_file "${simdriver_folder}/exports.map")
  add_library(${name} SHARED EXCLUDE_FROM_ALL
    $<TARGET_OBJECTS:simdriver_driver> $<TARGET_OBJECTS:simdriver_simt> $<TARGET_OBJECTS:${name}_kernels>)
  set_target_properties(${name} PROPERTIES
    LINKER_LANGUAGE CXX
    OUTPUT_NAME cuda PREFIX lib SUFFIX .so.1 NO_SONAME ON
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/${folder}")
  # Without libtsan: what the instrumented kernels call is the SIMT layer's own.
  target_link_options(${name} PRIVATE "LINKER:-soname,libcuda.so.1" "LINKER:--version-script=${exports_file}" "LINKER:--no-undefined")
  target_link_libraries(${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
  set_property(TARGET ${name} APPEND PROPERTY LINK_DEPENDS "${exports_file}")
endfunction()

add_simdriver(simdriver simdriver OFF ${kernel_sources})
add_simdriver(simdriver_checked simdriver-checked ON ${kernel_sources})

# ---- the functions of kernels/ptx.cuh --------------------------------------------------------------
add_kernel_objects(ptx_functions_kernels OFF "${ptx_folder}/functions.cu")
add_library(ptx_functions SHARED EXCLUDE_FROM_ALL
  "${ptx_folder}/simt_host.cpp" $<TARGET_OBJECTS:simdriver_simt> $<TARGET_OBJECTS:ptx_functions_kernels>)
set_target_properties(ptx_functions PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/ptx" CXX_VISIBILITY_PRESET default)
target_link_libraries(ptx_functions PRIVATE simdriver_options ${CMAKE_DL_LIBS})

# ---- native tests of kernels and backend, through whatever driver is found ------------------------
file(GLOB cuda_test_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/test/cuda/*.cpp")
add_executable(splitwiser_cuda_tests EXCLUDE_FROM_ALL ${cuda_test_sources} "${CMAKE_CURRENT_SOURCE_DIR}/test/native/main.cpp")
target_include_directories(splitwiser_cuda_tests PRIVATE test/cuda test/native)
target_link_libraries(splitwiser_cuda_tests PRIVATE splitwiser_core)
set_target_properties(splitwiser_cuda_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
