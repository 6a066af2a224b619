#include "image.hpp"

#include <elf.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace simdriver {
namespace {

class Elf {
 public:
  explicit Elf(const std::vector<std::byte>& bytes) : bytes_(bytes) {}

  bool open() {
    if (!read(0, header_) || std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) return false;
    sections_.resize(header_.e_shnum);
    for (std::size_t i = 0; i < sections_.size(); ++i) {
      if (!read(header_.e_shoff + i * header_.e_shentsize, sections_[i])) return false;
    }
    return header_.e_shstrndx < sections_.size();
  }
  const std::vector<Elf64_Shdr>& sections() const { return sections_; }
  std::string name(const Elf64_Shdr& section) const { return string(sections_[header_.e_shstrndx], section.sh_name); }
  std::string string(const Elf64_Shdr& table, std::size_t offset) const {
    const std::size_t at = table.sh_offset + offset;
    if (at >= bytes_.size()) return {};
    const char* text = reinterpret_cast<const char*>(bytes_.data()) + at;
    return std::string(text, strnlen(text, bytes_.size() - at));
  }
  template <class T>
  bool read(std::size_t at, T& to) const {
    if (at > bytes_.size() || sizeof(T) > bytes_.size() - at) return false;
    std::memcpy(&to, bytes_.data() + at, sizeof(T));
    return true;
  }

 private:
  const std::vector<std::byte>& bytes_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Shdr> sections_;
};

constexpr int kReservedSharedBytes = 1024;
constexpr int kSized = 4;  // an attribute whose u16 is the number of bytes that follow; else the u16 is the value

// Calls visit(attribute, value, offset of the bytes, number of bytes) for each attribute of a .nv.info section.
template <class Visit>
void each_attribute(const Elf& elf, const Elf64_Shdr& section, Visit visit) {
  std::size_t at = section.sh_offset;
  const std::size_t end = at + section.sh_size;
  while (at + 4 <= end) {
    std::uint8_t format = 0, attribute = 0;
    std::uint16_t value = 0;
    if (!elf.read(at, format) || !elf.read(at + 1, attribute) || !elf.read(at + 2, value)) return;
    at += 4;
    const std::size_t bytes = format == kSized ? value : 0;
    if (bytes > end - at) return;
    visit(int(attribute), value, at, bytes);
    at += bytes;
  }
}

void read_kernel_info(const Elf& elf, const Elf64_Shdr& section, KernelImage& to) {
  each_attribute(elf, section, [&](int attribute, std::uint16_t value, std::size_t at, std::size_t bytes) {
    if (attribute == 0x19) to.parameter_bytes = value;
    if (attribute == 0x05 && bytes >= 12) {
      std::uint32_t x = 1, y = 1, z = 1;
      if (elf.read(at, x) && elf.read(at + 4, y) && elf.read(at + 8, z)) to.max_threads = int(x * y * z);
    }
    if (attribute == 0x17 && bytes >= 12) {  // u32 index, u16 ordinal, u16 offset, u32 with the size from bit 18 on
      std::uint16_t ordinal = 0, offset = 0;
      std::uint32_t packed = 0;
      if (!elf.read(at + 4, ordinal) || !elf.read(at + 6, offset) || !elf.read(at + 8, packed)) return;
      if (to.parameters.size() <= ordinal) to.parameters.resize(ordinal + 1u);
      to.parameters[ordinal] = {offset, packed >> 18};
    }
  });
}

bool starts_with(const std::string& text, std::string_view with) { return text.compare(0, with.size(), with) == 0; }

std::size_t number_behind(const std::string& text, std::string_view word, std::size_t from, std::size_t until,
                          std::size_t otherwise) {
  const std::size_t at = text.find(word, from);
  if (at == std::string::npos || at >= until) return otherwise;
  return std::strtoull(text.c_str() + at + word.size(), nullptr, 10);
}

}  // namespace

bool read_cubin(const std::vector<std::byte>& bytes, LibraryImage& to, std::string& error) {
  Elf elf(bytes);
  error = "a cubin of the fatbin is damaged";
  if (!elf.open()) return false;
  for (const Elf64_Shdr& section : elf.sections()) {
    const std::string name = elf.name(section);
    if (starts_with(name, ".text.")) to[name.substr(6)];
  }
  std::vector<std::string> symbols;  // names by index
  for (const Elf64_Shdr& section : elf.sections()) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= elf.sections().size()) continue;
    for (std::size_t i = 0; i < section.sh_size / sizeof(Elf64_Sym); ++i) {
      Elf64_Sym symbol;
      if (!elf.read(section.sh_offset + i * sizeof symbol, symbol)) return false;
      symbols.push_back(elf.string(elf.sections()[section.sh_link], symbol.st_name));
    }
  }
  for (const Elf64_Shdr& section : elf.sections()) {
    const std::string name = elf.name(section);
    const auto kernel = [&](std::string_view prefix) -> KernelImage* {
      if (!starts_with(name, prefix)) return nullptr;
      const auto found = to.find(name.substr(prefix.size()));
      return found == to.end() ? nullptr : &found->second;
    };
    if (KernelImage* of = kernel(".nv.info.")) read_kernel_info(elf, section, *of);
    if (KernelImage* of = kernel(".nv.shared.")) of->shared_bytes = int(section.sh_size);
    if (KernelImage* of = kernel(".nv.constant0.")) of->constant_bytes = int(section.sh_size);
    if (name != ".nv.info") continue;
    each_attribute(elf, section, [&](int attribute, std::uint16_t, std::size_t at, std::size_t length) {
      std::uint32_t index = 0, value = 0;
      if (length < 8 || !elf.read(at, index) || !elf.read(at + 4, value) || index >= symbols.size()) return;
      const auto found = to.find(symbols[index]);
      if (found == to.end()) return;
      if (attribute == 0x2f) found->second.registers = int(value);
      if (attribute == 0x11) found->second.local_bytes = int(value);
    });
  }
  error.clear();
  return true;
}

bool read_ptx(const std::vector<std::byte>& bytes, LibraryImage& to, std::string& error) {
  const std::string text(reinterpret_cast<const char*>(bytes.data()),
                         strnlen(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  if (text.find(".version") == std::string::npos) {
    error = "the PTX of the fatbin is damaged";
    return false;
  }
  for (std::size_t at = text.find(".entry "); at != std::string::npos; at = text.find(".entry ", at + 1)) {
    const std::size_t open = text.find_first_of("({", at);
    const std::size_t body = text.find('{', at);
    if (open == std::string::npos || body == std::string::npos) break;
    std::string name = text.substr(at + 7, open - at - 7);
    while (!name.empty() && std::isspace(static_cast<unsigned char>(name.back()))) name.pop_back();
    KernelImage& kernel = to[name];
    kernel.from_ptx = true;
    for (std::size_t p = text.find(".param ", at); p < body; p = text.find(".param ", p + 1)) {
      const std::size_t end = text.find_first_of(",)\n", p);
      const std::string line = text.substr(p, end - p);  // .param .align 8 .b8 NAME_param_0[16]   or   .param .u64 NAME
      const std::size_t bracket = line.find('[');
      std::size_t size = bracket == std::string::npos ? 0 : std::strtoull(line.c_str() + bracket + 1, nullptr, 10);
      std::size_t align = number_behind(line, ".align ", 0, line.size(), 0);
      if (size == 0) {
        const std::size_t digits = line.find_first_of("0123456789");
        size = align = std::strtoull(line.c_str() + digits, nullptr, 10) / 8;  // .u32, .f64, ...
      }
      const std::size_t offset = (kernel.parameter_bytes + align - 1) / std::max<std::size_t>(align, 1) * align;
      kernel.parameters.push_back({offset, size});
      kernel.parameter_bytes = offset + size;
    }
    kernel.max_threads = int(number_behind(text, ".maxntid ", at, body, 1024));
  }
  return true;
}

bool read_image(const std::vector<FatbinEntry>& entries, int arch, LibraryImage& to, std::string& error) {
  const FatbinEntry* entry = choose_entry(entries, arch);
  if (!entry) {
    error = "no cubin and no PTX of the fatbin fits compute capability " + std::to_string(arch);
    return false;
  }
  if (entry->kind == FatbinEntry::Kind::elf) {
    if (!read_cubin(entry->data, to, error)) return false;
    for (auto& [name, kernel] : to) {
      kernel.binary_arch = kernel.ptx_arch = entry->arch;
      // There the section has what the system keeps of each block, too (simt's limits count it already).
      if (entry->arch >= 90) kernel.shared_bytes = std::max(0, kernel.shared_bytes - kReservedSharedBytes);
    }
    return true;
  }
  if (!read_ptx(entry->data, to, error)) return false;
  LibraryImage other;  // for register counts, which PTX does not have
  for (const FatbinEntry& cubin : entries) {
    if (cubin.kind == FatbinEntry::Kind::elf && !read_cubin(cubin.data, other, error)) return false;
  }
  for (auto& [name, kernel] : to) {
    kernel.binary_arch = arch;  // compiled in place
    kernel.ptx_arch = entry->arch;
    const auto same = other.find(name);
    kernel.registers = same == other.end() ? 32 : same->second.registers;
    kernel.shared_bytes = same == other.end() ? 0 : same->second.shared_bytes;
  }
  return true;
}

}  // namespace simdriver
