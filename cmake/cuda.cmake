# Decides whether the CUDA backend is built, and offers its kernels as objects.
# Before: core_sources. After: core_sources without the files that this build does not want, SPLITWISER_HAS_CUDA; with CUDA also
# SPLITWISER_NVCC, SPLITWISER_CUDA_INCLUDE and the object library splitwiser_fatbins. Nothing of NVIDIA is linked: nvcc compiles the
# kernels, and its headers declare types.
set(SPLITWISER_CUDA AUTO CACHE STRING "The CUDA backend: AUTO (when nvcc 13 is there), ON (it must be) or OFF; the environment's SPLITWISER_CUDA wins")
set_property(CACHE SPLITWISER_CUDA PROPERTY STRINGS AUTO ON OFF)

set(cuda_wish "${SPLITWISER_CUDA}")
if(DEFINED ENV{SPLITWISER_CUDA})
  set(cuda_wish "$ENV{SPLITWISER_CUDA}")
endif()
string(TOUPPER "${cuda_wish}" cuda_wish)
if(cuda_wish MATCHES "^(OFF|0|FALSE)$")
  set(cuda_reason "SPLITWISER_CUDA=OFF")
elseif(cuda_wish MATCHES "^(AUTO|ON|1|TRUE)$")
  execute_process(
    COMMAND node scripts/kernels.mjs find
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    OUTPUT_VARIABLE cuda_answer RESULT_VARIABLE cuda_status)
  if(cuda_status EQUAL 0)
    string(JSON cuda_reason ERROR_VARIABLE cuda_no_reason GET "${cuda_answer}" reason)
    string(JSON cuda_version ERROR_VARIABLE cuda_no_version GET "${cuda_answer}" version)
    string(JSON SPLITWISER_NVCC ERROR_VARIABLE cuda_no_nvcc GET "${cuda_answer}" nvcc)
    string(JSON SPLITWISER_CUDA_INCLUDE ERROR_VARIABLE cuda_no_include GET "${cuda_answer}" include)
  else()
    set(cuda_reason "node scripts/kernels.mjs does not run: have node on the PATH")
    set(cuda_no_include TRUE)
  endif()
else()
  message(FATAL_ERROR "SPLITWISER_CUDA is \"${cuda_wish}\": expected AUTO, ON or OFF")
endif()

if(cuda_version AND NOT cuda_no_include)
  set(SPLITWISER_HAS_CUDA ON)
  message(STATUS "CUDA backend: nvcc ${cuda_version}")
elseif(cuda_wish MATCHES "^(ON|1|TRUE)$")
  message(FATAL_ERROR "SPLITWISER_CUDA=ON, but ${cuda_reason}")
else()
  set(SPLITWISER_HAS_CUDA OFF)
  message(STATUS "CPU only, without the CUDA backend: ${cuda_reason}")
endif()

# no_cuda.cpp answers in place of all the other files of its folder. scripts/kernels.mjs has the same rule for gyp.
if(SPLITWISER_HAS_CUDA)
  list(FILTER core_sources EXCLUDE REGEX "^native/backend/cuda/no_cuda\\.cpp$")

  # Run at every build: it knows by content what is to be compiled, and which GPUs or SPLITWISER_CUDA_ARCHS are wanted now.
  set(kernels_folder "${CMAKE_BINARY_DIR}/kernels")
  add_custom_target(splitwiser_kernels
    COMMAND node scripts/kernels.mjs build "${kernels_folder}"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    BYPRODUCTS "${kernels_folder}/fatbins.cpp"
    COMMENT "Compiling CUDA kernels"
    USES_TERMINAL)
  # A library of its own, so that the other sources do not wait for nvcc.
  add_library(splitwiser_fatbins OBJECT "${kernels_folder}/fatbins.cpp")
  target_include_directories(splitwiser_fatbins PRIVATE native)
  add_dependencies(splitwiser_fatbins splitwiser_kernels)
else()
  set(no_cuda "native/backend/cuda/no_cuda.cpp")
  list(FIND core_sources "${no_cuda}" no_cuda_index)
  list(FILTER core_sources EXCLUDE REGEX "^native/backend/cuda/")
  if(NOT no_cuda_index EQUAL -1)
    list(APPEND core_sources "${no_cuda}")
  endif()
endif()
