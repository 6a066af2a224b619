# The simulated driver, once for each tier, and the native tests of the CUDA side. All of it is built by name only.
#   simdriver          build/simdriver/libcuda.so.1          kernels as they are
#   simdriver_checked  build/simdriver-checked/libcuda.so.1  kernels instrumented: every access calls the SIMT layer's __tsan_* functions
# splitwiser_cuda_tests are the native tests of kernels and backend; simt_tests, simt_tests_checked and driver_tests those of the simulator
# itself, with kernels of their own; ptx_functions is what `npm run test:ptx` compares with nvcc's PTX.
set(simdriver_folder "${CMAKE_CURRENT_SOURCE_DIR}/test/simdriver")
set(ptx_folder "${CMAKE_CURRENT_SOURCE_DIR}/test/ptx")
file(GLOB driver_sources CONFIGURE_DEPENDS "${simdriver_folder}/driver/*.cpp")
file(GLOB_RECURSE simt_sources CONFIGURE_DEPENDS "${simdriver_folder}/simt/*.cpp")
file(GLOB kernel_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/kernels/*.cu")

add_library(simdriver_options INTERFACE)
target_include_directories(simdriver_options INTERFACE "${simdriver_folder}" kernels)
target_include_directories(simdriver_options SYSTEM INTERFACE "${SPLITWISER_CUDA_INCLUDE}")
target_link_libraries(simdriver_options INTERFACE Threads::Threads)
target_compile_options(simdriver_options INTERFACE -Wall -Wextra -ffp-contract=off)

# What both tiers share.
add_library(simdriver_simt OBJECT EXCLUDE_FROM_ALL ${simt_sources})
target_link_libraries(simdriver_simt PRIVATE simdriver_options)
target_compile_options(simdriver_simt PRIVATE -O2)
add_library(simdriver_driver OBJECT EXCLUDE_FROM_ALL ${driver_sources})
target_link_libraries(simdriver_driver PRIVATE simdriver_options)
target_compile_options(simdriver_driver PRIVATE -O1)
# The version script decides what is seen, not the project's -fvisibility=hidden.
set_target_properties(simdriver_simt simdriver_driver PROPERTIES CXX_VISIBILITY_PRESET default)

# CUDA sources as C++, with line numbers for what the machine finds. Checked: instrumented, with the callbacks that the SIMT layer defines;
# without optimisations that would merge or split what the source accesses.
function(add_kernel_objects name checked)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${ARGN})
  target_link_libraries(${name} PRIVATE simdriver_options)
  target_compile_options(${name} PRIVATE "SHELL:-x c++" -g -Wno-unknown-pragmas)  # "#pragma unroll" is for nvcc
  if(checked)
    target_compile_options(${name} PRIVATE
      -O1 -fsanitize=thread "SHELL:--param tsan-instrument-func-entry-exit=0" -fno-tree-sra -fno-ipa-sra -fno-thread-jumps -Wno-deprecated-copy)
  else()
    target_compile_options(${name} PRIVATE -O2)
  endif()
endfunction()

# A libcuda.so.1 with the kernels of these sources.
function(add_simdriver name folder checked)
  add_kernel_objects(${name}_kernels ${checked} ${ARGN})
  set(exports_file "${simdriver_folder}/exports.map")
  add_library(${name} SHARED EXCLUDE_FROM_ALL
    $<TARGET_OBJECTS:simdriver_driver> $<TARGET_OBJECTS:simdriver_simt> $<TARGET_OBJECTS:${name}_kernels>)
  set_target_properties(${name} PROPERTIES
    LINKER_LANGUAGE CXX
    OUTPUT_NAME cuda PREFIX lib SUFFIX .so.1 NO_SONAME ON
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/${folder}")
  # Without libtsan: what the instrumented kernels call is the SIMT layer's own. Its threads outlive a dlclose.
  target_link_options(${name} PRIVATE
    "LINKER:-soname,libcuda.so.1" "LINKER:--version-script=${exports_file}" "LINKER:--no-undefined" "LINKER:-z,nodelete"
    -static-libstdc++ -static-libgcc)
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
target_link_options(ptx_functions PRIVATE "LINKER:--no-undefined")

# ---- the simulator's own tests ---------------------------------------------------------------------
set(own_folder "${simdriver_folder}/tests")
file(GLOB simt_test_sources CONFIGURE_DEPENDS "${own_folder}/simt_*.cpp")
file(GLOB simt_test_kernels CONFIGURE_DEPENDS "${own_folder}/simt_*.cu")
file(GLOB driver_test_sources CONFIGURE_DEPENDS "${own_folder}/driver_*.cpp")
set(driver_test_kernels "${own_folder}/driver_kernels.cu")

function(add_simt_tests name checked)
  add_kernel_objects(${name}_kernels ${checked} ${simt_test_kernels})
  target_include_directories(${name}_kernels PRIVATE "${own_folder}")
  add_executable(${name} EXCLUDE_FROM_ALL ${simt_test_sources} $<TARGET_OBJECTS:simdriver_simt> $<TARGET_OBJECTS:${name}_kernels>)
  target_include_directories(${name} PRIVATE "${own_folder}")
  target_link_libraries(${name} PRIVATE simdriver_options ${CMAKE_DL_LIBS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
endfunction()
add_simt_tests(simt_tests OFF)
add_simt_tests(simt_tests_checked ON)

add_simdriver(driver_tests_library simdriver-tests OFF ${driver_test_kernels})
target_include_directories(driver_tests_library_kernels PRIVATE "${own_folder}")
set(driver_test_fatbin "${CMAKE_BINARY_DIR}/simdriver-tests/driver_kernels.fatbin")
add_custom_command(
  OUTPUT "${driver_test_fatbin}"
  COMMAND "${SPLITWISER_NVCC}" -std=c++20 -fmad=false "-I${CMAKE_CURRENT_SOURCE_DIR}/kernels"
    -gencode "arch=compute_80,code=[sm_80,compute_80]" -gencode arch=compute_90,code=sm_90 --fatbin -Xfatbin -compress-all --compress-mode=speed
    "${driver_test_kernels}" -o "${driver_test_fatbin}"
  DEPENDS "${driver_test_kernels}" "${own_folder}/driver_kernels.hpp" "${CMAKE_CURRENT_SOURCE_DIR}/kernels/ptx.cuh"
  VERBATIM)
add_executable(driver_tests EXCLUDE_FROM_ALL ${driver_test_sources} "${driver_test_fatbin}")
add_dependencies(driver_tests driver_tests_library)
target_link_libraries(driver_tests PRIVATE simdriver_options ${CMAKE_DL_LIBS})
set_target_properties(driver_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

# ---- native tests of kernels and backend, through whatever driver is found ------------------------
file(GLOB cuda_test_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/test/cuda/*.cpp")
add_executable(splitwiser_cuda_tests EXCLUDE_FROM_ALL ${cuda_test_sources} "${CMAKE_CURRENT_SOURCE_DIR}/test/native/main.cpp")
target_include_directories(splitwiser_cuda_tests PRIVATE test/cuda test/native)
target_link_libraries(splitwiser_cuda_tests PRIVATE splitwiser_core)
set_target_properties(splitwiser_cuda_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
