#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "check.hpp"
#include "platform/mapped_file.hpp"

namespace splitwiser {
namespace {

// A folder that goes with the test.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("splitwiser-" + std::to_string(std::random_device{}()))) {
    std::filesystem::create_directory(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file(const std::string& name, const std::string& content) const {
    const auto path = path_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  [[nodiscard]] std::string path(const std::string& name = ".") const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string text_of_bytes(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST("a mapped file gives the bytes of the file, and survives a move") {
  const Folder folder;
  MappedFile first(folder.file("a", "weights"));
  CHECK_EQ(text_of_bytes(first), "weights");
  MappedFile second(std::move(first));
  CHECK_EQ(text_of_bytes(second), "weights");
  CHECK(first.bytes().empty());  // NOLINT: what a moved-from file is, is part of the contract
  MappedFile other(folder.file("b", "other"));
  other = std::move(second);
  CHECK_EQ(text_of_bytes(other), "weights");
}

TEST("an empty file maps to no bytes") {
  const Folder folder;
  const MappedFile file(folder.file("empty", ""));
  CHECK(file.bytes().empty());
}

TEST("a file that is missing or is no file is refused with its name") {
  const Folder folder;
  CHECK_THROWS_CODE(MappedFile(folder.path("missing")), ErrorCode::model_not_found);
  CHECK_THROWS_CODE(MappedFile(folder.path()), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(MappedFile(""), ErrorCode::model_not_found);
  try {
    const MappedFile file(folder.path("missing"));
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("missing") != std::string::npos);
  }
}

}  // namespace
}  // namespace splitwiser
