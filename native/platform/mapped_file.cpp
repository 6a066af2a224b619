#include "platform/mapped_file.hpp"

#include <cstdint>
#include <utility>

#include "support/error.hpp"

#if defined(__unix__) || defined(__APPLE__)
#define SPLITWISER_HAS_MMAP 1
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#else
#define SPLITWISER_HAS_MMAP 0
#include <filesystem>
#include <fstream>
#include <system_error>
#endif

namespace splitwiser {

#if SPLITWISER_HAS_MMAP

namespace {

// Closes at the end of the scope: a mapping outlives its descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

std::string reason(int code) { return std::generic_category().message(code); }

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // Without O_NONBLOCK opening a named pipe would wait for a writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    throw Error(ErrorCode::model_not_found,
                "cannot open \"" + path + "\": " + reason(errno) + ". Check the path and that the file may be read");
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    throw Error(ErrorCode::model_not_found, "cannot read the size of \"" + path + "\": " + reason(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::corrupt_file, "\"" + path + "\" is not a plain file: expected a file with weights");
  }
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;  // mmap refuses length 0
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) {
    const int code = errno;
    size_ = 0;
    throw Error(code == ENOMEM ? ErrorCode::out_of_memory : ErrorCode::corrupt_file,
                "cannot map \"" + path + "\" (" + std::to_string(status.st_size) + " bytes): " + reason(code));
  }
  data_ = static_cast<const std::byte*>(mapped);
}

void MappedFile::close() noexcept {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  data_ = nullptr;
  size_ = 0;
}

#else

MappedFile::MappedFile(const std::string& path) : path_(path) {
  std::error_code code;
  const std::uintmax_t size = std::filesystem::file_size(path, code);
  std::ifstream file(path, std::ios::binary);
  if (code || !file) {
    throw Error(ErrorCode::model_not_found,
                "cannot open \"" + path + "\". Check the path and that the file may be read");
  }
  copy_.resize(static_cast<std::size_t>(size));
  file.read(reinterpret_cast<char*>(copy_.data()), static_cast<std::streamsize>(copy_.size()));
  if (static_cast<std::uintmax_t>(file.gcount()) != size) {
    throw Error(ErrorCode::corrupt_file, "\"" + path + "\" ended before its " + std::to_string(size) + " bytes");
  }
  data_ = copy_.data();
  size_ = copy_.size();
}

void MappedFile::close() noexcept {
  copy_.clear();
  data_ = nullptr;
  size_ = 0;
}

#endif

MappedFile::~MappedFile() { close(); }

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      copy_(std::move(other.copy_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    close();
    path_ = std::move(other.path_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    copy_ = std::move(other.copy_);
  }
  return *this;
}

}  // namespace splitwiser
