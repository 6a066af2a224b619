// A file's bytes, mapped read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace splitwiser {

class MappedFile {
 public:
  // Throws model_not_found (missing, unreadable) or corrupt_file (not a plain file, changed while it was read).
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // Empty for an empty file. Valid as long as this object lives.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  void close() noexcept;

  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::vector<std::byte> copy_;  // where the system has no mmap
};

}  // namespace splitwiser
