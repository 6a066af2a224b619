// The simulated GPU's multiprocessors, the face that the simulated driver codes against. Kernel sources compiled by g++
// (kernels/*.cu through simt/device.hpp) run here: threads are fibers, blocks live on SMs within the occupancy limits of
// the architecture, and the order of blocks, warps and lanes is random by a seed.
//
// The driver decides *when* a grid starts (streams, events, graphs); it calls start() when the work before it has
// finished, and says in `after` on what the grid may rely. The two are apart on purpose: whatever is not in `after` is
// unordered for the race detector, however the clock fell.
//
// Two tiers by how the kernels were compiled: *fast* (plainly) and *checked* (with -fsanitize=thread, linked against
// our own callbacks, see README.md). checked() says which. In the fast tier memory and order are not watched: on_alloc,
// host_access and `after` cost next to nothing, and findings come from collectives alone.
//
// All functions may be called from any thread.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "simt/counters.hpp"
#include "simt/kernel_entry.hpp"

namespace simt {

// Every SPLITWISER_KERNEL that is linked in.
[[nodiscard]] std::span<const KernelEntry* const> kernels();
[[nodiscard]] const KernelEntry* find_kernel(std::string_view name);  // null: there is none
// The kernels' objects are instrumented.
[[nodiscard]] bool checked();

// ---- the device ---------------------------------------------------------------------------------

inline constexpr int kMaxSms = 256;
using SmSet = std::bitset<kMaxSms>;

// What a multiprocessor holds, by compute capability (80, 86, 89, 90, 100, 120; CUDA C++ Programming Guide, "Technical
// Specifications per Compute Capability"). Others take the nearest below.
struct SmLimits {
  int threads, blocks, registers;
  int shared_bytes;            // of an SM
  int shared_bytes_per_block;  // the opt-in limit
  int shared_bytes_reserved;   // of each block, by the system
};
[[nodiscard]] SmLimits limits_of(int arch);
// Blocks that one SM holds together; 0: not even one.
[[nodiscard]] int occupancy(const SmLimits& limits, int threads, int registers_per_thread, int shared_bytes);

enum class MmaMode : std::uint8_t {
  ordered,    // f32 sums of the 16 products and the accumulator, one seeded order for the whole run
  truncated,  // aligned to the greatest exponent and cut off there, then cut to f32 (arXiv 2511.10909)
};
enum class AsyncCopies : std::uint8_t {
  late,   // the bytes arrive when a wait makes them
  mixed,  // some arrive at issue, some late: by the seed
  early,  // all at issue
};

struct Options {
  int sms = 1;
  int arch = 80;
  std::uint64_t seed = 1;
  int workers = 1;               // OS threads; the checked tier uses one
  MmaMode mma = MmaMode::ordered;
  std::uint64_t mma_seed = 0;    // of the order of sums, where it is to stay while other orders change; 0: `seed`
  AsyncCopies async_copies = AsyncCopies::mixed;
  int live_blocks = 6;           // a worker's blocks in execution; more only while these spin
  std::uint64_t spin_limit = 2'000'000;  // yields in a row without a thread's end or a barrier: a deadlock
  std::size_t max_findings = 200;        // kept; all are counted
};

// ---- order --------------------------------------------------------------------------------------

// Something that happened: a grid, a copy, a host access. 0 is before everything.
using Token = std::uint64_t;

// ---- grids --------------------------------------------------------------------------------------

enum class Status : std::uint8_t {
  ok,
  illegal_address,  // out of bounds, after free (checked tier), __trap
  misaligned,       // checked tier; cp.async, ldmatrix and 16 byte loads in both
  deadlock,
  aborted,          // abort() was called, or the machine ended
};
[[nodiscard]] const char* name_of(Status status);

struct GridResult {
  Token token = 0;
  Status status = Status::ok;
  std::string message;           // what failed, for people
  Counters counters;
  std::uint64_t first_tick = 0;  // of the machine's count of scheduling steps: start of the first block, and
  std::uint64_t last_tick = 0;   // end of the last
  SmSet sms_used;
};

struct GridLaunch {
  const KernelEntry* kernel = nullptr;
  std::vector<std::byte> params;     // kernel->params_bytes
  std::uint32_t grid = 1;
  std::uint32_t block = 1;
  std::uint32_t shared_bytes = 0;    // dynamic
  std::uint32_t registers = 32;      // of a thread: for residency
  int priority = 0;                  // less is sooner, as in CUDA
  std::uint64_t chain = 0;           // the stream; things of a chain are in the order of their start()
  std::uint64_t context = 0;         // a tag for findings
  SmSet sms;                         // where its blocks may live; none set: all of the device
  std::vector<Token> after;          // happens after these (and after its chain's last)
  // On a worker's thread (for an invalid launch on the caller's), no lock held; may call the machine, but not wait().
  std::function<void(const GridResult&)> done;
};

// ---- memory -------------------------------------------------------------------------------------

enum class Space : std::uint8_t {
  device,
  pinned,  // host memory that kernels may reach. The host touches it unseen: no check for uninitialised reads, and
           // none for races with the host
};

struct HostAccess {
  const void* base = nullptr;
  std::size_t bytes = 0;
  bool write = false;
  std::uint64_t chain = 0;
  std::vector<Token> after;
  const char* label = "copy";  // a literal, for findings: "cuMemcpyHtoDAsync", ...
};

// ---- findings -----------------------------------------------------------------------------------

enum class FindingKind : std::uint8_t {
  out_of_bounds, use_after_free, misaligned, uninitialised, race, read_only_load, async_copy,
  divergence, wrong_mask, barrier, deadlock, shared_overflow, arithmetic, other,
};
[[nodiscard]] const char* name_of(FindingKind kind);

struct Place {
  std::string kernel;            // or the label of a host access
  Token token = 0;
  std::int64_t block = -1, thread = -1;
  std::string at;                // file:line, or symbol+offset
};

struct Finding {
  FindingKind kind = FindingKind::other;
  std::string text;              // one sentence with addresses, labels and sizes
  Place here, there;             // there: the other party of a race; empty where there is none
  std::uint64_t count = 1;       // times that this pair of places was seen
  [[nodiscard]] std::string format() const;
};

class Machine {
 public:
  explicit Machine(const Options& options);
  ~Machine();  // aborts what runs, joins the workers
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  [[nodiscard]] const Options& options() const;
  [[nodiscard]] SmLimits limits() const;
  // Of the count that GridResult's ticks are of: what happens from now on has this tick or a later one.
  [[nodiscard]] std::uint64_t tick() const;

  // Starts now. The launch must be valid (block <= kernel->threads, it fits on an SM): the driver checks and words the
  // errors; here an invalid one ends with Status::aborted and a message.
  Token start(GridLaunch launch);
  // Waits until this grid is done and its callback has returned. Not from a callback.
  void wait(Token grid);
  // A point in a chain that is after others: an event, a synchronisation, an empty node.
  Token join(std::uint64_t chain, std::span<const Token> after);
  // Ends all grids in flight with Status::aborted: the device is lost.
  void abort();

  // `label` names the allocation in findings. poison: fills with 0xff (NaN in every type). initialised: reads before
  // a write are not findings.
  void on_alloc(void* base, std::size_t bytes, std::string label, Space space = Space::device, bool poison = true,
                bool initialised = false);
  // Grids in flight that are not before `after` and have touched it: a finding. The range stays known as freed until
  // an allocation overlaps it.
  void on_free(void* base, std::span<const Token> after);
  // Copies, memsets, host reads: at the time of the access itself.
  Token host_access(const HostAccess& access);
  // Forgets what is written in a range: it is uninitialised again (a recycled page, say), and poisoned.
  void poison(void* base, std::size_t bytes);

  [[nodiscard]] std::vector<Finding> findings() const;  // resolves addresses: slow
  [[nodiscard]] std::uint64_t finding_count() const;
  void clear_findings();

  [[nodiscard]] Counters counters() const;                                      // of all finished grids
  [[nodiscard]] std::vector<std::pair<std::string, Counters>> counters_by_kernel() const;
  void clear_counters();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace simt
