// Tables of tensors that do not fit their files: whatever JavaScript checked, nothing outside of a mapping is read.
#include "model/tensors.hpp"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "check.hpp"
#include "fake_backend.hpp"
#include "model/weights.hpp"

using namespace splitwiser;

namespace {

class TempFile {
 public:
  explicit TempFile(std::size_t bytes) {
    static std::random_device entropy;
    path_ = std::filesystem::temp_directory_path() / ("splitwiser-tensors-" + std::to_string(entropy()) + std::to_string(entropy()));
    std::string content(bytes, '\0');
    for (std::size_t i = 0; i < bytes; i++) content[i] = char(i);
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~TempFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
constexpr std::int64_t kMaxSigned = std::numeric_limits<std::int64_t>::max();

// One tensor over a file of 64 bytes.
void open_one(const TensorEntry& entry) {
  const TempFile file(64);
  const TensorTable table({file.path()}, {entry});
}

}  // namespace

TEST("a tensor inside of its file is found, with the bytes of its offset") {
  const TempFile file(64);
  const TensorTable table({file.path()}, {{"a", DType::f32, {2, 3}, 0, 8, 24}, {"b", DType::f16, {5}, 0, 54, 10}});
  CHECK(table.has("a"));
  CHECK(!table.has("c"));
  CHECK_EQ(table.total_bytes(), 34);
  const HostMatrix a = table.matrix("a", 2, 3);
  CHECK_EQ(a.rows, 2);
  CHECK_EQ(a.cols, 3);
  CHECK(a.dtype == DType::f32);
  CHECK_EQ(int(a.data[0]), 8);
  CHECK_EQ(int(a.data[23]), 31);
  const HostMatrix b = table.vector("b", 5);
  CHECK_EQ(b.rows, 1);
  CHECK_EQ(b.cols, 5);
  CHECK_EQ(int(b.data[9]), 63);
}

TEST("a tensor that ends at the file's end fits, one that ends a byte later does not") {
  open_one({"a", DType::f32, {16}, 0, 0, 64});
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {16}, 0, 1, 64}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {17}, 0, 0, 68}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {1}, 0, 64, 4}), ErrorCode::corrupt_file);
}

TEST("offsets and sizes whose sum overflows are refused") {
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {1}, 0, kMax, 4}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {1}, 0, kMax - 3, 4}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {1}, 0, 4, kMax}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {1}, 0, 4, kMax - 3}), ErrorCode::corrupt_file);
}

TEST("shapes whose product overflows are refused, even where the product wraps to the right size") {
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {std::int64_t(1) << 32, std::int64_t(1) << 32}, 0, 0, 0}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {std::int64_t(1) << 62}, 0, 0, 0}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f16, {kMaxSigned, 2}, 0, 0, 64}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {(std::int64_t(1) << 62) + 4}, 0, 0, 16}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {kMaxSigned, kMaxSigned}, 0, 0, 4}), ErrorCode::corrupt_file);
}

TEST("negative dimensions are refused") {
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {-1}, 0, 0, 4}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {-2, -2}, 0, 0, 16}), ErrorCode::corrupt_file);
}

TEST("a size that the shape does not explain is refused") {
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {4}, 0, 0, 12}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {4}, 0, 0, 20}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {4}, 0, 0, 17}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f16, {4}, 0, 0, 16}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {4}, 0, 0, 0}), ErrorCode::corrupt_file);
}

TEST("an empty tensor is no mistake") { open_one({"a", DType::f32, {0, 7}, 0, 64, 0}); CHECK(true); }

TEST("a tensor there twice is refused") {
  const TempFile file(64);
  CHECK_THROWS_CODE(TensorTable({file.path()}, {{"a", DType::f32, {1}, 0, 0, 4}, {"a", DType::f32, {1}, 0, 4, 4}}),
                    ErrorCode::corrupt_file);
}

TEST("a tensor of a file that was not given is refused") {
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {1}, 1, 0, 4}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(open_one({"a", DType::f32, {1}, std::numeric_limits<std::size_t>::max(), 0, 4}), ErrorCode::corrupt_file);
}

TEST("an empty file holds no tensor, a missing file is not found") {
  const TempFile empty(0);
  CHECK_THROWS_CODE(TensorTable({empty.path()}, {{"a", DType::f32, {1}, 0, 0, 4}}), ErrorCode::corrupt_file);
  CHECK_THROWS_CODE(TensorTable({empty.path() + "-missing"}, {}), ErrorCode::model_not_found);
  CHECK_THROWS_CODE(TensorTable({std::filesystem::temp_directory_path().string()}, {}), ErrorCode::corrupt_file);
}

TEST("a tensor of another shape than the config asks for is named in the error") {
  const TempFile file(64);
  const TensorTable table({file.path()}, {{"weight", DType::f32, {2, 3}, 0, 0, 24}});
  CHECK_THROWS_CODE(table.matrix("weight", 3, 2), ErrorCode::unsupported_model);
  CHECK_THROWS_CODE(table.vector("weight", 6), ErrorCode::unsupported_model);
  CHECK_THROWS_CODE(table.matrix("other", 3, 2), ErrorCode::unsupported_model);
  try {
    (void)table.matrix("weight", 3, 2);
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(text.find("\"weight\"") != std::string::npos && text.find("[2, 3]") != std::string::npos);
    CHECK(text.find("[3, 2]") != std::string::npos);
  }
}

TEST("loading counts every parameter once, reports its progress and gives up when it is told to") {
  ModelSpec spec;
  spec.layers = 1;
  spec.heads = spec.kv_heads = 1;
  spec.head_dim = 4;
  spec.hidden = spec.embed_dim = 4;
  spec.ffn = 8;
  spec.vocab = 10;
  spec.max_positions = 6;
  std::vector<TensorEntry> entries;
  std::uint64_t offset = 0;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    std::uint64_t bytes = 4;
    for (const std::int64_t size : shape) bytes *= std::uint64_t(size);
    entries.push_back({"model.decoder." + name, DType::f32, std::move(shape), 0, offset, bytes});
    offset += bytes;
  };
  add("embed_tokens.weight", {10, 4});
  add("embed_positions.weight", {8, 4});
  for (const std::string part : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
    add("layers.0.self_attn." + part + ".weight", {4, 4});
    add("layers.0.self_attn." + part + ".bias", {4});
  }
  add("layers.0.fc1.weight", {8, 4});
  add("layers.0.fc1.bias", {8});
  add("layers.0.fc2.weight", {4, 8});
  add("layers.0.fc2.bias", {4});
  for (const std::string norm : {"layers.0.self_attn_layer_norm", "layers.0.final_layer_norm", "final_layer_norm"}) {
    add(norm + ".weight", {4});
    add(norm + ".bias", {4});
  }
  const TempFile file(offset);
  const TensorTable table({file.path()}, entries);
  fake::FakeBackend backend(1, std::make_shared<fake::HazardLog>());
  std::uint64_t last = 0;
  const DecoderWeights weights = load_weights(spec, {table, backend, DType::f32, [&](std::uint64_t done, std::uint64_t total) {
                                                CHECK(done > last);
                                                CHECK_EQ(total, offset);
                                                last = done;
                                                return true;
                                              }});
  CHECK_EQ(last, offset);
  CHECK_EQ(weights.parameters, std::int64_t(offset / 4));
  CHECK_EQ(weights.bytes, offset);
  CHECK_EQ(weights.layers.size(), 1);
  CHECK_EQ(weights.layers[0].qkv.weight->rows(), 12);
  CHECK_THROWS_CODE(load_weights(spec, {table, backend, DType::f32, [](std::uint64_t, std::uint64_t) { return false; }}),
                    ErrorCode::aborted);
  spec.ffn = 9;
  CHECK_THROWS_CODE(load_weights(spec, {table, backend, DType::f32, {}}), ErrorCode::unsupported_model);
}
