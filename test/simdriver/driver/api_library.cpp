// Libraries and kernels: names, sizes and registers come from the image that the host hands over; what runs is the kernel
// of the same name that was linked into this file.
#include <cstring>

#include "state.hpp"

using namespace simdriver;

namespace {

CUresult load(State& all, const void* image, CUlibrary* to) {
  std::vector<FatbinEntry> entries;
  LibraryImage kernels;
  std::string error;
  if (!read_fatbin(image, entries, error)) {
    all.finding("cuLibraryLoadData: " + error);
    return CUDA_ERROR_INVALID_IMAGE;
  }
  if (!read_image(entries, settings().arch, kernels, error)) {
    all.finding("cuLibraryLoadData: " + error);
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  auto library = std::make_shared<Library>();
  for (auto& [name, kernel] : kernels) {
    auto object = std::make_shared<KernelObject>();
    object->name = name;
    object->entry = simt::find_kernel(name);
    object->image = std::move(kernel);
    if (!object->entry) {
      all.finding("kernel " + name + " of the image was not linked into the simulated driver");
      return CUDA_ERROR_INVALID_IMAGE;
    }
    if (object->entry->params_bytes != object->image.parameter_bytes) {
      all.finding("kernel " + name + " takes " + std::to_string(object->image.parameter_bytes) + " bytes of parameters in the " +
                  "image and " + std::to_string(object->entry->params_bytes) + " in the simulated driver: build both anew");
      return CUDA_ERROR_INVALID_IMAGE;
    }
    library->kernels[name] = object;
  }
  for (const auto& [name, object] : library->kernels) all.kernels.add<CUkernel>(object);
  *to = all.libraries.add<CUlibrary>(library);
  return CUDA_SUCCESS;
}

int attribute(const KernelObject& kernel, CUfunction_attribute which, bool& known) {
  known = true;
  switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return kernel.image.max_threads;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: return kernel.image.shared_bytes;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES: return kernel.image.constant_bytes;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: return kernel.image.local_bytes;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: return kernel.image.registers;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION: return kernel.image.ptx_arch;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: return kernel.image.binary_arch;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA: return 0;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: return kernel.dynamic_shared_limit;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: return -1;
    default: known = false; return 0;
  }
}

CUresult get_attribute(const KernelObject* kernel, CUfunction_attribute which, int* to) {
  if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
  bool known = false;
  const int value = attribute(*kernel, which, known);
  if (!to || !known) return CUDA_ERROR_INVALID_VALUE;
  *to = value;
  return CUDA_SUCCESS;
}

CUresult set_attribute(State& all, KernelObject* kernel, CUfunction_attribute which, int value) {
  if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
  if (which == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
    return value >= -1 && value <= 100 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
  if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0) return CUDA_ERROR_INVALID_VALUE;
  const int most = machine().limits().shared_bytes_per_block;
  if (value + kernel->image.shared_bytes > most) {
    all.finding("kernel " + kernel->name + ": " + std::to_string(value) + " bytes of dynamic shared memory were asked for, sm_" +
                std::to_string(settings().arch) + " has " + std::to_string(most) + " a block");
    return CUDA_ERROR_INVALID_VALUE;
  }
  kernel->dynamic_shared_limit = value;
  return CUDA_SUCCESS;
}

CUresult parameter(const KernelObject* kernel, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
  if (!offset || index >= kernel->image.parameters.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = kernel->image.parameters[index].offset;
  if (bytes) *bytes = kernel->image.parameters[index].bytes;
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuLibraryLoadData(CUlibrary* to, const void* image, CUjit_option*, void**, unsigned int, CUlibraryOption*,
                                   void**, unsigned int) {
  return entry("cuLibraryLoadData", {.fail_class = "load", .failure = CUDA_ERROR_OUT_OF_MEMORY, .unsafe_in_capture = true},
               [&](State& all, auto&) {
    if (!to || !image) return CUDA_ERROR_INVALID_VALUE;
    return load(all, image, to);
  });
}

CUresult CUDAAPI cuLibraryUnload(CUlibrary handle) {
  return entry("cuLibraryUnload", {.unsafe_in_capture = true}, [&](State& all, auto&) {
    const auto library = all.libraries.find(handle);
    if (!library) return CUDA_ERROR_INVALID_HANDLE;
    for (const auto& [name, kernel] : library->kernels) {
      if (all.executor.pending_kernel(*kernel)) all.finding("a library was unloaded while its kernel " + name + " was in flight");
      for (const auto& [context, function] : kernel->functions) all.functions.retire(function.get());
      all.kernels.retire(kernel.get());
    }
    all.libraries.retire(handle);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuLibraryGetKernel(CUkernel* to, CUlibrary handle, const char* name) {
  return entry("cuLibraryGetKernel", {}, [&](State& all, auto&) {
    const auto library = all.libraries.find(handle);
    if (!library) return CUDA_ERROR_INVALID_HANDLE;
    if (!to || !name) return CUDA_ERROR_INVALID_VALUE;
    const auto found = library->kernels.find(name);
    if (found == library->kernels.end()) return CUDA_ERROR_NOT_FOUND;
    *to = reinterpret_cast<CUkernel>(found->second.get());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuLibraryGetKernelCount(unsigned int* to, CUlibrary handle) {
  return entry("cuLibraryGetKernelCount", {}, [&](State& all, auto&) {
    const auto library = all.libraries.find(handle);
    if (!library) return CUDA_ERROR_INVALID_HANDLE;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = unsigned(library->kernels.size());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuLibraryEnumerateKernels(CUkernel* to, unsigned int count, CUlibrary handle) {
  return entry("cuLibraryEnumerateKernels", {}, [&](State& all, auto&) {
    const auto library = all.libraries.find(handle);
    if (!library) return CUDA_ERROR_INVALID_HANDLE;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    unsigned filled = 0;
    for (const auto& [name, kernel] : library->kernels) {
      if (filled < count) to[filled++] = reinterpret_cast<CUkernel>(kernel.get());
    }
    return CUDA_SUCCESS;
  });
}

// Loads the kernel in the current context; until then its first launch would.
CUresult CUDAAPI cuKernelGetFunction(CUfunction* to, CUkernel handle) {
  return entry("cuKernelGetFunction", {}, [&](State& all, auto&) {
    const auto kernel = all.kernels.find(handle);
    const auto context = all.current();
    if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    auto& function = kernel->functions[context.get()];
    if (!function) {
      function = std::make_shared<Function>(Function{kernel, context});
      all.functions.add<CUfunction>(function);
    }
    *to = reinterpret_cast<CUfunction>(function.get());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuKernelGetName(const char** to, CUkernel handle) {
  return entry("cuKernelGetName", {}, [&](State& all, auto&) {
    const auto kernel = all.kernels.find(handle);
    if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = kernel->name.c_str();
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuKernelGetAttribute(int* to, CUfunction_attribute which, CUkernel handle, CUdevice device) {
  return entry("cuKernelGetAttribute", {}, [&](State& all, auto&) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    return get_attribute(all.kernels.find(handle).get(), which, to);
  });
}

CUresult CUDAAPI cuKernelSetAttribute(CUfunction_attribute which, int value, CUkernel handle, CUdevice device) {
  return entry("cuKernelSetAttribute", {}, [&](State& all, auto&) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    return set_attribute(all, all.kernels.find(handle).get(), which, value);
  });
}

CUresult CUDAAPI cuKernelGetParamInfo(CUkernel handle, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  return entry("cuKernelGetParamInfo", {}, [&](State& all, auto&) {
    return parameter(all.kernels.find(handle).get(), index, offset, bytes);
  });
}

CUresult CUDAAPI cuFuncGetAttribute(int* to, CUfunction_attribute which, CUfunction handle) {
  return entry("cuFuncGetAttribute", {}, [&](State& all, auto&) {
    return get_attribute(all.kernel_of(handle).get(), which, to);
  });
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction handle, CUfunction_attribute which, int value) {
  return entry("cuFuncSetAttribute", {}, [&](State& all, auto&) {
    return set_attribute(all, all.kernel_of(handle).get(), which, value);
  });
}

CUresult CUDAAPI cuFuncGetParamInfo(CUfunction handle, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  return entry("cuFuncGetParamInfo", {}, [&](State& all, auto&) {
    return parameter(all.kernel_of(handle).get(), index, offset, bytes);
  });
}

CUresult CUDAAPI cuFuncGetName(const char** to, CUfunction handle) {
  return entry("cuFuncGetName", {}, [&](State& all, auto&) {
    const auto kernel = all.kernel_of(handle);
    if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
    if (!to) return CUDA_ERROR_INVALID_VALUE;
    *to = kernel->name.c_str();
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessor(int* to, CUfunction handle, int block, std::size_t shared_bytes) {
  return entry("cuOccupancyMaxActiveBlocksPerMultiprocessor", {}, [&](State& all, auto&) {
    const auto kernel = all.kernel_of(handle);
    if (!kernel) return CUDA_ERROR_INVALID_HANDLE;
    if (!to || block <= 0) return CUDA_ERROR_INVALID_VALUE;
    const bool fits = block <= kernel->image.max_threads && shared_bytes <= std::size_t(kernel->dynamic_shared_limit);
    *to = !fits ? 0 : simt::occupancy(machine().limits(), block, kernel->image.registers,
                                      int(shared_bytes) + kernel->image.shared_bytes);
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
