// Plans on disk: a few lines of text and what the library saved, with a checksum.
#include "planCache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace dw::cuda {

namespace {

// Raised whenever the format of a file, or the meaning of a key or of a problem, changes.
constexpr int kFormat = 2;

// FNV-1a, 64 bits.
uint64_t hashOf(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

std::string hex(uint64_t value) {
  char text[17];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string header() { return "depthwise plan " + std::to_string(kFormat); }

// One line: what a description says must not end it.
std::string line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

std::string body(const std::string& key, const StoredPlan& plan) {
  std::ostringstream text;
  const PlanDescription& d = plan.description;
  text << key << '\n' << line(d.library) << '\n' << line(d.engine) << '\n' << line(d.notes) << '\n';
  text.precision(9);
  text << d.milliseconds << ' ' << d.candidates << ' ' << plan.workspace << ' ' << plan.saved.size() << '\n';
  text << plan.saved;
  return text.str();
}

bool makeFolders(const std::string& folder) {
  for (size_t at = folder.find('/', 1);; at = folder.find('/', at + 1)) {
    const std::string part = folder.substr(0, at);
    if (mkdir(part.c_str(), 0700) != 0) {
      struct stat info;
      if (stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) return false;
    }
    if (at == std::string::npos) return true;
  }
}

// The fields of a key, one after another.
class Key {
 public:
  explicit Key(const char* kind) { text_ << kind; }
  Key& operator()(const char* name, int64_t value) {
    text_ << ' ' << name << '=' << value;
    return *this;
  }
  Key& operator()(const char* name, double value) {
    text_.precision(17);
    text_ << ' ' << name << '=' << value;
    return *this;
  }
  Key& operator()(const char* name, bool value) { return (*this)(name, static_cast<int64_t>(value)); }
  template <class Enum>
  Key& operator()(const char* name, Enum value) {
    return (*this)(name, static_cast<int64_t>(value));
  }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
};

}  // namespace

std::string PlanCache::fileOf(const std::string& key) const {
  return folder_ + "/" + hex(hashOf(key)) + ".plan";
}

std::optional<StoredPlan> PlanCache::load(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  std::ifstream file(fileOf(key), std::ios::binary);
  std::string first, checksum, text;
  if (!std::getline(file, first) || first != header() || !std::getline(file, checksum)) return std::nullopt;
  text.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  if (checksum != hex(hashOf(text))) return std::nullopt;
  std::istringstream lines(text);
  StoredPlan plan;
  std::string storedKey, numbers;
  PlanDescription& d = plan.description;
  if (!std::getline(lines, storedKey) || storedKey != key || !std::getline(lines, d.library) ||
      !std::getline(lines, d.engine) || !std::getline(lines, d.notes) || !std::getline(lines, numbers))
    return std::nullopt;
  size_t length = 0;
  std::istringstream fields(numbers);
  if (!(fields >> d.milliseconds >> d.candidates >> plan.workspace >> length)) return std::nullopt;
  const auto begin = static_cast<size_t>(lines.tellg());
  if (text.size() - begin != length) return std::nullopt;
  plan.saved = text.substr(begin);
  return plan;
}

void PlanCache::store(const std::string& key, const StoredPlan& plan) const {
  if (folder_.empty() || !makeFolders(folder_)) return;
  static std::atomic<unsigned> counter{0};
  const std::string path = fileOf(key);
  const std::string temporary = path + "." + std::to_string(getpid()) + "-" + std::to_string(counter++);
  const std::string text = body(key, plan);
  std::ofstream file(temporary, std::ios::binary);
  file << header() << '\n' << hex(hashOf(text)) << '\n' << text;
  file.close();
  if (!file || rename(temporary.c_str(), path.c_str()) != 0) unlink(temporary.c_str());
}

std::string keyOf(const ConvolutionProblem& p) {
  return Key("convolution")("direction", p.direction)("fusion", p.fusion)("type", p.type)("result", p.result)(
             "n", p.n)("h", p.h)("w", p.w)("c", p.c)("o", p.o)("oh", p.oh)("ow", p.ow)("kernelH", p.kernelH)(
             "kernelW", p.kernelW)("strideH", p.strideH)("strideW", p.strideW)("top", p.top)(
             "bottom", p.bottom)("left", p.left)("right", p.right)("dilationH", p.dilationH)(
             "dilationW", p.dilationW)("groups", p.groups)("relu", p.relu)("residual", p.residual)(
             "tf32", p.tf32)("deterministic", p.deterministic)
      .text();
}

std::string keyOf(const MatrixProblem& p) {
  return Key("matrix")("m", p.m)("n", p.n)("k", p.k)("transposeA", p.transposeA)("transposeB", p.transposeB)(
             "type", p.type)("result", p.result)("bias", p.bias)("relu", p.relu)("tf32", p.tf32)(
             "deterministic", p.deterministic)
      .text();
}

std::string keyOf(const NormalizationProblem& p) {
  return Key("normalization")("phase", p.phase)("type", p.type)("n", p.n)("h", p.h)("w", p.w)("c", p.c)(
             "epsilon", p.epsilon)("momentum", p.momentum)("relu", p.relu)("residual", p.residual)
      .text();
}

std::string keyOf(const PoolingProblem& p) {
  return Key("pooling")("pooling", p.pooling)("backward", p.backward)("type", p.type)("n", p.n)("h", p.h)(
             "w", p.w)("c", p.c)("oh", p.oh)("ow", p.ow)("kernelH", p.kernelH)("kernelW", p.kernelW)(
             "strideH", p.strideH)("strideW", p.strideW)("top", p.top)("bottom", p.bottom)("left", p.left)(
             "right", p.right)("deterministic", p.deterministic)
      .text();
}

}  // namespace dw::cuda
