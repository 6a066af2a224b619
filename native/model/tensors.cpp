#include "model/tensors.hpp"

#include <limits>

#include "support/error.hpp"

namespace splitwiser {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Elements of a shape, or nothing when the product leaves 63 bits.
std::optional<std::uint64_t> element_count(const std::vector<std::int64_t>& shape) {
  std::uint64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size != 0 && count > std::uint64_t(std::numeric_limits<std::int64_t>::max()) / std::uint64_t(size)) {
      return std::nullopt;
    }
    count *= std::uint64_t(size);
  }
  return count;
}

}  // namespace

TensorTable::TensorTable(const std::vector<std::string>& files, std::vector<TensorEntry> entries) {
  files_.reserve(files.size());
  for (const std::string& path : files) files_.emplace_back(path);
  for (TensorEntry& entry : entries) {
    const auto refuse = [&](const std::string& why) {
      throw Error(ErrorCode::corrupt_file, "tensor \"" + entry.name + "\": " + why);
    };
    if (entry.file >= files_.size()) refuse("is in file " + std::to_string(entry.file) + ", which was not given");
    const std::uint64_t size = files_[entry.file].bytes().size();
    if (entry.offset > size || entry.bytes > size - entry.offset) {
      refuse("bytes " + std::to_string(entry.offset) + " to +" + std::to_string(entry.bytes) + " lie outside of the file (" +
             std::to_string(size) + " bytes): the file is cut, download it again");
    }
    const auto count = element_count(entry.shape);
    if (!count || *count > entry.bytes / bytes_of(entry.dtype) || *count * bytes_of(entry.dtype) != entry.bytes) {
      refuse("shape " + shape_text(entry.shape) + " does not make " + std::to_string(entry.bytes) + " bytes of " +
             name_of(entry.dtype));
    }
    total_bytes_ += entry.bytes;
    const std::string name = entry.name;
    if (!entries_.emplace(name, std::move(entry)).second) {
      throw Error(ErrorCode::corrupt_file, "tensor \"" + name + "\" is there twice");
    }
  }
}

HostMatrix TensorTable::matrix(const std::string& name, std::int64_t rows, std::int64_t cols) const {
  return view(name, {rows, cols});
}

HostMatrix TensorTable::vector(const std::string& name, std::int64_t size) const { return view(name, {size}); }

HostMatrix TensorTable::view(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    throw Error(ErrorCode::unsupported_model, "the checkpoint has no tensor \"" + name + "\" " + shape_text(shape));
  }
  const TensorEntry& entry = found->second;
  if (entry.shape != shape) {
    throw Error(ErrorCode::unsupported_model, "tensor \"" + name + "\" has shape " + shape_text(entry.shape) +
                                                  ", config.json asks for " + shape_text(shape));
  }
  return HostMatrix{
      .data = files_[entry.file].bytes().data() + entry.offset,
      .dtype = entry.dtype,
      .rows = shape.size() == 2 ? shape[0] : 1,
      .cols = shape.back(),
  };
}

}  // namespace splitwiser
