#include <utility>

#include "addon/convert.hpp"
#include "addon/fields.hpp"

namespace splitwiser::addon {
namespace {

// Bounds that keep every product of sizes inside 63 bits; no model comes near them.
constexpr std::int64_t kMaxLayers = 65536;
constexpr std::int64_t kMaxHeads = 65536;
constexpr std::int64_t kMaxHeadDim = 65536;
constexpr std::int64_t kMaxPageSize = 65536;
constexpr std::int64_t kMaxThreads = 4096;
constexpr std::int64_t kMaxDevices = 4096;
constexpr std::int64_t kMaxSequences = std::int64_t(1) << 20;
constexpr std::int64_t kMaxBatchTokens = std::int64_t(1) << 24;
constexpr double kMaxCacheBytes = 4e18;

constexpr Words<DType> kDTypes = {{"f32", DType::f32}, {"f16", DType::f16}, {"bf16", DType::bf16}};

ModelSpec read_model(const Fields& fields) {
  ModelSpec model;
  model.family = fields.word<Family>("family", {{"opt", Family::opt}});
  model.layers = int(fields.integer("layers", 1, kMaxLayers));
  model.heads = int(fields.integer("heads", 1, kMaxHeads));
  model.kv_heads = int(fields.integer("kvHeads", 1, kMaxHeads));
  model.head_dim = int(fields.integer("headDim", 1, kMaxHeadDim));
  model.hidden = fields.integer("hidden", 1, kMaxInt32);
  model.ffn = fields.integer("ffn", 1, kMaxInt32);
  model.vocab = fields.integer("vocab", 1, kMaxInt32);
  model.max_positions = fields.integer("maxPositions", 1, kMaxInt32);
  model.embed_dim = fields.integer("embedDim", 1, kMaxInt32);
  model.norm_eps = float(fields.number("normEps", 0, 1));
  model.pre_norm = fields.boolean("preNorm");
  model.final_norm = fields.boolean("finalNorm");
  model.activation =
      fields.word<Activation>("activation", {{"relu", Activation::relu}, {"gelu", Activation::gelu}});
  model.tied_embeddings = fields.boolean("tiedEmbeddings");
  model.biases = fields.boolean("biases");
  if (model.heads % model.kv_heads != 0) {
    throw Error(ErrorCode::invalid_option, fields.path("kvHeads") + ": expected a divisor of heads (" +
                                               std::to_string(model.heads) + "), got " +
                                               std::to_string(model.kv_heads));
  }
  return model;
}

std::vector<std::string> read_files(const Fields& fields) {
  std::vector<std::string> files;
  fields.list("files", [&](const Napi::Value& value, const std::string& field) {
    std::string path = read_text(value, field);
    // The system would stop at the zero and open another file.
    if (path.find('\0') != std::string::npos) refuse(field, "a path without zero characters", value);
    files.push_back(std::move(path));
  });
  if (files.empty()) refuse(fields.path("files"), "at least one path", fields.get("files"));
  return files;
}

std::vector<TensorEntry> read_tensors(const Fields& fields, std::size_t files) {
  std::vector<TensorEntry> tensors;
  fields.list("tensors", [&](const Napi::Value& value, const std::string& path) {
    const Fields tensor(value, path);
    TensorEntry entry;
    entry.name = tensor.text("name");
    entry.dtype = tensor.word<DType>("dtype", kDTypes);
    tensor.list("shape", [&](const Napi::Value& size, const std::string& field) {
      entry.shape.push_back(read_integer(size, field, 0, kMaxSafeInteger));
      if (entry.shape.size() > 2) refuse(tensor.path("shape"), "1 or 2 dimensions", tensor.get("shape"));
    });
    entry.file = std::size_t(tensor.integer("file", 0, std::int64_t(files) - 1));
    entry.offset = std::uint64_t(tensor.integer("offset", 0, kMaxSafeInteger));
    entry.bytes = std::uint64_t(tensor.integer("bytes", 0, kMaxSafeInteger));
    tensors.push_back(std::move(entry));
  });
  return tensors;
}

KvShape read_kv(const Fields& fields, const ModelSpec& model) {
  KvShape kv{};
  kv.layers = model.layers;
  kv.kv_heads = model.kv_heads;
  kv.head_dim = model.head_dim;
  kv.page_size = int(fields.integer("pageSize", 16, kMaxPageSize));
  kv.pages = fields.integer("kvPages", 1, kMaxInt32);
  kv.dtype = fields.word<DType>("kvType", kDTypes);
  if (kv.page_size % 16 != 0) refuse(fields.path("pageSize"), "a multiple of 16", fields.get("pageSize"));
  const double bytes = 2.0 * kv.layers * kv.kv_heads * kv.head_dim * kv.page_size * double(bytes_of(kv.dtype)) *
                       double(kv.pages);
  if (bytes > kMaxCacheBytes) {
    throw Error(ErrorCode::out_of_memory, "the KV cache of " + std::to_string(kv.pages) + " pages of " +
                                              std::to_string(kv.page_size) +
                                              " tokens is larger than any memory: lower kvCacheBytes");
  }
  return kv;
}

std::shared_ptr<const Vocabulary> read_vocabulary(const Fields& fields) {
  const Napi::Value value = fields.get("vocabulary");
  if (value.IsNull()) return nullptr;
  const Fields vocabulary(value, fields.path("vocabulary"));
  const auto kind = vocabulary.word<VocabularyKind>("kind", {{"byte-level", VocabularyKind::byte_level},
                                                             {"byte-fallback", VocabularyKind::byte_fallback},
                                                             {"metaspace", VocabularyKind::metaspace}});
  const auto bytes = vocabulary.elements<std::uint8_t>("bytes");
  auto offsets = vocabulary.elements<std::uint32_t>("offsets");
  auto kinds = vocabulary.elements<std::uint8_t>("kinds");
  // The constructor checks that they fit each other.
  return std::make_shared<const Vocabulary>(kind, std::string(bytes.begin(), bytes.end()), std::move(offsets),
                                            std::move(kinds));
}

}  // namespace

LoadSpec read_load(const Napi::Value& value) {
  const Fields fields(value, "load");
  LoadSpec spec;
  spec.model = read_model(fields.object("model"));
  spec.files = read_files(fields);
  spec.tensors = read_tensors(fields, spec.files.size());
  spec.storage = fields.word<DType>("storage", kDTypes);
  if (!fields.get("cuda").IsNull()) {
    const Fields cuda = fields.object("cuda");
    spec.cuda = CudaOptions{.ordinal = int(cuda.integer("ordinal", 0, kMaxDevices)), .storage = spec.storage,
                            .layer_group_ms = cuda.number("layerGroupMs", 0, 1000)};
  }
  spec.kv = read_kv(fields, spec.model);
  spec.max_model_len = fields.integer("maxModelLen", 1, kMaxInt32);
  spec.threads = int(fields.integer("threads", 1, kMaxThreads));
  spec.vocabulary = read_vocabulary(fields);
  spec.engine = read_engine_options(fields.get("engine"), fields.path("engine"));
  return spec;
}

EngineOptions read_engine_options(const Napi::Value& value, const std::string& path) {
  const Fields fields(value, path);
  EngineOptions options;
  options.schedule = fields.word<Schedule>("schedule", {{"sequential", Schedule::sequential},
                                                        {"chunked", Schedule::chunked},
                                                        {"split", Schedule::split}});
  const Napi::Value partition = fields.get("partition");
  if (!partition.IsNull()) {
    options.partition.kind = read_word<Partition>(partition, fields.path("partition"),
                                                  {{"none", Partition::none},
                                                   {"cores", Partition::cores},
                                                   {"priority", Partition::priority},
                                                   {"cta-quota", Partition::cta_quota},
                                                   {"mps", Partition::mps},
                                                   {"green-context", Partition::green_context}});
  }
  const Napi::Value share = fields.get("prefillShare");
  if (!share.IsNull()) {
    const double number = share.IsNumber() ? share.As<Napi::Number>().DoubleValue() : 0;
    if (!(number > 0 && number < 1)) refuse(fields.path("prefillShare"), "a number between 0 and 1, or null", share);
    options.partition.prefill_share = number;
  }
  options.max_sequences = fields.integer("maxSequences", 1, kMaxSequences);
  options.max_batch_tokens = fields.integer("maxBatchTokens", 1, kMaxBatchTokens);
  return options;
}

}  // namespace splitwiser::addon
