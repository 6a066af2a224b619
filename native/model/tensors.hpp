// The tensors of a checkpoint: a table of names over memory-mapped files. The table comes from outside and is
// checked against the files here, once more, whoever made it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/backend.hpp"
#include "platform/mapped_file.hpp"

namespace splitwiser {

struct TensorEntry {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;  // 1 or 2 dimensions
  std::size_t file;                 // index into the files
  std::uint64_t offset;             // bytes from the file's start
  std::uint64_t bytes;
};

class TensorTable {
 public:
  // Throws model_not_found, corrupt_file (bytes outside the file, size that the shape does not explain).
  TensorTable(const std::vector<std::string>& files, std::vector<TensorEntry> entries);

  [[nodiscard]] bool has(const std::string& name) const { return entries_.contains(name); }
  // Throws unsupported_model when the tensor is missing or has another shape.
  [[nodiscard]] HostMatrix matrix(const std::string& name, std::int64_t rows, std::int64_t cols) const;
  [[nodiscard]] HostMatrix vector(const std::string& name, std::int64_t size) const;
  [[nodiscard]] std::uint64_t total_bytes() const { return total_bytes_; }

 private:
  [[nodiscard]] HostMatrix view(const std::string& name, const std::vector<std::int64_t>& shape) const;

  std::vector<MappedFile> files_;
  std::unordered_map<std::string, TensorEntry> entries_;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace splitwiser
