// splitwiser_bench [--json] [--threads N] [--quick]: kernels beside the roofline of this machine, which is
// measured in the same run, and with a check of each result.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "backend/cpu/cpu_backend.hpp"
#include "cases.hpp"

namespace splitwiser::bench {
namespace {

struct Options {
  bool json = false;
  bool quick = false;
  int threads = 0;
};

constexpr const char* kUsage = "usage: splitwiser_bench [--json] [--threads N] [--quick]\n";

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      options.json = true;
    } else if (std::strcmp(argv[i], "--quick") == 0) {
      options.quick = true;
    } else if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
      options.threads = std::atoi(argv[++i]);
      if (options.threads < 1) return false;
    } else {
      return false;
    }
  }
  return true;
}

// Names and shapes are plain ASCII of our own; a processor's name might hold anything.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) result += c;
  }
  return result + "\"";
}

void print_json(const CpuDevice& device, int threads, const Peak& peak, const std::vector<Row>& rows) {
  std::printf("{\"machine\":{\"name\":%s,\"isa\":%s,\"cores\":%d,\"threads\":%d},", quoted(device.name).c_str(),
              quoted(device.isa).c_str(), device.cores, threads);
  std::printf("\"peak\":{\"flops\":%.6g,\"readBytesPerSecond\":%.6g},\"rows\":[", peak.flops,
              peak.read_bytes_per_second);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    // JSON knows no NaN.
    const std::string error = row.max_error == row.max_error ? std::to_string(row.max_error * 1e6) + "e-6" : "null";
    std::printf("%s\n{\"name\":%s,\"shape\":%s,\"medianMs\":%.6g,\"spreadMs\":%.6g,\"achieved\":%.6g,\"unit\":%s,"
                "\"shareOfPeak\":%.4f,\"maxError\":%s,\"ok\":%s}",
                i == 0 ? "" : ",", quoted(row.name).c_str(), quoted(row.shape).c_str(), row.timing.median_ms,
                row.timing.spread_ms, row.achieved, quoted(row.unit).c_str(), row.share_of_peak, error.c_str(),
                row.ok ? "true" : "false");
  }
  std::printf("\n]}\n");
}

void print_table(const CpuDevice& device, int threads, const Peak& peak, const std::vector<Row>& rows) {
  std::printf("%s, %s, %d of %d cores\n", device.name.c_str(), device.isa.c_str(), threads, device.cores);
  std::printf("peak, measured in this run: %.1f GFLOP/s f32 multiply-adds, %.1f GB/s read\n\n", peak.flops * 1e-9,
              peak.read_bytes_per_second * 1e-9);
  std::printf("%-36s %-24s %11s %9s %10s %-7s %6s %10s\n", "case", "shape", "median ms", "spread", "achieved", "unit",
              "peak", "max error");
  for (const Row& row : rows) {
    std::printf("%-36s %-24s %11.4f %9.4f %10.1f %-7s %5.1f%% %10.2e%s\n", row.name.c_str(), row.shape.c_str(),
                row.timing.median_ms, row.timing.spread_ms, row.achieved, row.unit.c_str(), row.share_of_peak * 100,
                row.max_error, row.ok ? "" : "  WRONG");
  }
}

int run(const Options& options) {
  const CpuDevice device = describe_cpu();
  const int threads = options.threads != 0 ? options.threads : device.cores;
  const auto backend = make_cpu_backend({.threads = threads});
  const Context context{*backend, measure_peak(threads, options.quick), options.quick, options.quick ? 0.15 : 0.6};
  std::vector<Row> rows;
  linear_cases(context, rows);
  attention_cases(context, rows);
  norm_cases(context, rows);
  model_cases(context, rows);
  (options.json ? print_json : print_table)(device, threads, context.peak, rows);
  for (const Row& row : rows) {
    if (!row.ok) return 1;
  }
  return 0;
}

}  // namespace
}  // namespace splitwiser::bench

int main(int argc, char** argv) {
  splitwiser::bench::Options options;
  if (!splitwiser::bench::parse(argc, argv, options)) {
    std::fputs(splitwiser::bench::kUsage, stderr);
    return 2;
  }
  try {
    return splitwiser::bench::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "splitwiser_bench: %s\n", error.what());
    return 1;
  }
}
