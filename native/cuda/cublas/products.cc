// Products of matrices on cuBLASLt: the heuristic's algorithms, timed.
//
// cuBLASLt counts columns first: c = a*b in rows is c^T = b^T*a^T in columns, with the same memory. So its
// first operand is our b, its rows are our n, and a bias along its rows is ours along the columns.
#include "products.h"

#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "../timing.h"
#include "library.h"

namespace dw::cuda {

namespace {

constexpr size_t kWorkspaceLimit = size_t{64} << 20;
constexpr int kCandidates = 8;

cudaDataType_t typeOf(DataType type) {
  if (type == DataType::f16) return CUDA_R_16F;
  return type == DataType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

size_t byteSize(DataType type) { return type == DataType::f32 ? 4 : 2; }

// An object of cuBLASLt's that is destroyed with its owner.
template <class Raw>
class Owned {
 public:
  Owned(Raw raw, cublasStatus_t (*destroy)(Raw)) : raw_(raw), destroy_(destroy) {}
  Owned(Owned&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)), destroy_(other.destroy_) {}
  ~Owned() {
    if (raw_ != nullptr) destroy_(raw_);
  }
  Raw raw() const { return raw_; }

 private:
  Raw raw_;
  cublasStatus_t (*destroy_)(Raw);
};

using Layout = Owned<cublasLtMatrixLayout_t>;
using Description = Owned<cublasLtMatmulDesc_t>;
using Preference = Owned<cublasLtMatmulPreference_t>;

Layout layoutOf(const CublasLt& lt, DataType type, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t raw = nullptr;
  lt.check(lt.cublasLtMatrixLayoutCreate(&raw, typeOf(type), static_cast<uint64_t>(rows),
                                         static_cast<uint64_t>(columns), rows),
           "cublasLtMatrixLayoutCreate");
  return Layout(raw, lt.cublasLtMatrixLayoutDestroy);
}

template <class T>
void set(const CublasLt& lt, const Description& description, cublasLtMatmulDescAttributes_t name,
         const T& value) {
  lt.check(lt.cublasLtMatmulDescSetAttribute(description.raw(), name, &value, sizeof value),
           "cublasLtMatmulDescSetAttribute");
}

Description describe(const CublasLt& lt, const MatrixProblem& p) {
  cublasLtMatmulDesc_t raw = nullptr;
  const cublasComputeType_t compute =
      p.type == DataType::f32 && p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  lt.check(lt.cublasLtMatmulDescCreate(&raw, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Description description(raw, lt.cublasLtMatmulDescDestroy);
  set<int32_t>(lt, description, CUBLASLT_MATMUL_DESC_TRANSA, p.transposeB ? CUBLAS_OP_T : CUBLAS_OP_N);
  set<int32_t>(lt, description, CUBLASLT_MATMUL_DESC_TRANSB, p.transposeA ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (p.bias || p.relu) {
    const uint32_t epilogue =
        (p.bias ? uint32_t{CUBLASLT_EPILOGUE_BIAS} : 0u) | (p.relu ? uint32_t{CUBLASLT_EPILOGUE_RELU} : 0u);
    set(lt, description, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  }
  if (p.bias) set<int32_t>(lt, description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  return description;
}

Preference preferenceOf(const CublasLt& lt, const MatrixProblem& p) {
  cublasLtMatmulPreference_t raw = nullptr;
  lt.check(lt.cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
  Preference preference(raw, lt.cublasLtMatmulPreferenceDestroy);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    lt.check(lt.cublasLtMatmulPreferenceSetAttribute(raw, name, &value, sizeof value),
             "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceLimit});
  // Parts of a split sum are added in f32, never in T. In place they are added in whatever order they come.
  uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  if (!p.deterministic) schemes |= CUBLASLT_REDUCTION_SCHEME_INPLACE;
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
  // The runtime aligns buffers, and parts of flat ones, to 64 bytes.
  for (const auto name :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(name, uint32_t{16});
  return preference;
}

// What stays the same between runs of a product.
struct Product {
  std::shared_ptr<const CublasLt> lt;
  cublasLtHandle_t handle;
  Description description;
  Layout first, second, result;
  bool bias;
  cublasLtMatmulAlgo_t algorithm{};
  size_t workspace = 0;
  PlanDescription chosen;

  Product(std::shared_ptr<const CublasLt> library, cublasLtHandle_t onHandle, const MatrixProblem& p)
      : lt(std::move(library)),
        handle(onHandle),
        description(describe(*lt, p)),
        first(p.transposeB ? layoutOf(*lt, p.type, p.k, p.n) : layoutOf(*lt, p.type, p.n, p.k)),
        second(p.transposeA ? layoutOf(*lt, p.type, p.m, p.k) : layoutOf(*lt, p.type, p.k, p.m)),
        result(layoutOf(*lt, p.result, p.n, p.m)),
        bias(p.bias) {}

  std::vector<cublasLtMatmulHeuristicResult_t> candidates(const MatrixProblem& p) const {
    const Preference preference = preferenceOf(*lt, p);
    std::vector<cublasLtMatmulHeuristicResult_t> found(kCandidates);
    int count = 0;
    lt->check(
        lt->cublasLtMatmulAlgoGetHeuristic(handle, description.raw(), first.raw(), second.raw(), result.raw(),
                                           result.raw(), preference.raw(), kCandidates, found.data(), &count),
        "cublasLtMatmulAlgoGetHeuristic");
    found.resize(static_cast<size_t>(count));
    return found;
  }

  void run(Stream stream, const void* const* inputs, void* const* outputs, void* scratch,
           const cublasLtMatmulAlgo_t& with, size_t scratchBytes) const {
    const float one = 1, zero = 0;
    if (bias) set(*lt, description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, inputs[2]);
    lt->check(lt->cublasLtMatmul(handle, description.raw(), &one, inputs[1], first.raw(), inputs[0],
                                 second.raw(), &zero, outputs[0], result.raw(), outputs[0], result.raw(),
                                 &with, scratch, scratchBytes, static_cast<cudaStream_t>(stream)),
              "cublasLtMatmul");
  }
};

class ProductPlan : public Plan {
 public:
  explicit ProductPlan(std::shared_ptr<Product> product) : product_(std::move(product)) {
    workspaceBytes = product_->workspace;
    description = product_->chosen;
  }
  void run(Stream stream, const void* const* inputs, void* const* outputs, void* workspace) override {
    product_->run(stream, inputs, outputs, workspace, product_->algorithm, product_->workspace);
  }

 private:
  std::shared_ptr<Product> product_;
};

// Zeroed operands on the device, for timing.
class Operands {
 public:
  Operands(Stopwatch& stopwatch, const MatrixProblem& p) : stopwatch_(stopwatch) {
    const auto bytes = [](int64_t rows, int64_t columns, DataType type) {
      return static_cast<size_t>(rows * columns) * byteSize(type);
    };
    for (const size_t size : {bytes(p.m, p.k, p.type), bytes(p.k, p.n, p.type), bytes(1, p.n, DataType::f32),
                              bytes(p.m, p.n, p.result), kWorkspaceLimit})
      memory_.push_back(stopwatch.allocate(size));
  }
  Operands(const Operands&) = delete;
  ~Operands() {
    for (void* memory : memory_)
      if (memory != nullptr) stopwatch_.release(memory);
  }

  bool complete() const {
    for (void* memory : memory_)
      if (memory == nullptr) return false;
    return true;
  }
  const void* const* inputs() const { return const_cast<const void* const*>(memory_.data()); }
  void* const* outputs() const { return memory_.data() + 3; }
  void* workspace() const { return memory_[4]; }

 private:
  Stopwatch& stopwatch_;
  std::vector<void*> memory_;  // a, b, bias, c, workspace
};

// Bytes as text and back.
std::string hexOf(const cublasLtMatmulAlgo_t& algorithm) {
  static constexpr char kDigits[] = "0123456789abcdef";
  unsigned char bytes[sizeof algorithm];
  std::memcpy(bytes, &algorithm, sizeof algorithm);
  std::string text;
  for (const unsigned char byte : bytes) (text += kDigits[byte >> 4]) += kDigits[byte & 15];
  return text;
}

bool fromHex(const std::string& text, cublasLtMatmulAlgo_t& algorithm) {
  unsigned char bytes[sizeof algorithm];
  if (text.size() != 2 * sizeof algorithm) return false;
  for (size_t i = 0; i < sizeof algorithm; i++) {
    unsigned byte = 0;
    for (const char digit : {text[2 * i], text[2 * i + 1]}) {
      const bool letter = digit >= 'a' && digit <= 'f';
      if (!letter && (digit < '0' || digit > '9')) return false;
      byte = byte * 16 + static_cast<unsigned>(letter ? digit - 'a' + 10 : digit - '0');
    }
    bytes[i] = static_cast<unsigned char>(byte);
  }
  std::memcpy(&algorithm, bytes, sizeof algorithm);
  return true;
}

class Products : public Plans {
 public:
  Products(std::shared_ptr<const CublasLt> lt, std::string device, Timing* timing,
           const std::string& cacheFolder)
      : lt_(std::move(lt)), device_(std::move(device)), timing_(timing), disk_(cacheFolder) {
    lt_->check(lt_->cublasLtCreate(&handle_), "cublasLtCreate");
  }
  ~Products() override { lt_->cublasLtDestroy(handle_); }

  std::string unsupported(const MatrixProblem& problem) override {
    try {
      return Product(lt_, handle_, problem).candidates(problem).empty() ? none() : "";
    } catch (const PlanError& error) {
      return error.what();
    }
  }
  std::string unsupported(const ConvolutionProblem&) override { return kNotHere; }
  std::string unsupported(const NormalizationProblem&) override { return kNotHere; }
  std::string unsupported(const PoolingProblem&) override { return kNotHere; }

  std::unique_ptr<Plan> plan(const MatrixProblem& problem) override {
    const std::string key = keyOf(problem) + " | " + device_ + " | cuBLASLt " + lt_->versionText();
    const std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<Product>& known = chosen_[key];
    if (known == nullptr) known = choose(problem, key);
    return std::make_unique<ProductPlan>(known);
  }
  std::unique_ptr<Plan> plan(const ConvolutionProblem&) override { refuse(); }
  std::unique_ptr<Plan> plan(const NormalizationProblem&) override { refuse(); }
  std::unique_ptr<Plan> plan(const PoolingProblem&) override { refuse(); }

 private:
  static constexpr const char* kNotHere = "cuBLASLt multiplies matrices only";
  [[noreturn]] static void refuse() { throw PlanError(PlanError::Kind::unsupported, kNotHere); }
  std::string none() const { return "cuBLASLt " + lt_->versionText() + " has no algorithm for this product"; }

  std::shared_ptr<Product> choose(const MatrixProblem& problem, const std::string& key) {
    auto product = std::make_shared<Product>(lt_, handle_, problem);
    if (const auto stored = disk_.load(key)) {
      if (stored->workspace <= kWorkspaceLimit && fromHex(stored->saved, product->algorithm)) {
        product->workspace = stored->workspace;
        product->chosen = stored->description;
        return product;
      }
    }
    const auto candidates = product->candidates(problem);
    if (candidates.empty()) throw PlanError(PlanError::Kind::unsupported, none());
    size_t best = 0;
    double bestTime = kNoTime;
    // Times differ from one opening of a device to the next: a choice by them would not repeat its bits.
    const bool wantsTimes = timing_ != nullptr && !problem.deterministic;
    const bool hurried = wantsTimes && timing_->budget.spent();
    std::optional<Budget::Use> use;
    std::unique_ptr<Operands> operands;
    if (wantsTimes && !hurried) {
      use.emplace(timing_->budget);
      operands = std::make_unique<Operands>(timing_->stopwatch, problem);
    }
    for (size_t i = 0; operands != nullptr && operands->complete() && i < candidates.size(); i++) {
      if (candidates[i].state != CUBLAS_STATUS_SUCCESS) continue;
      try {
        const auto launch = [&] {
          product->run(timing_->stopwatch.stream(), operands->inputs(), operands->outputs(),
                       operands->workspace(), candidates[i].algo, candidates[i].workspaceSize);
        };
        const double time = timeOf(timing_->stopwatch, launch, bestTime);
        if (time < bestTime) {
          best = i;
          bestTime = time;
        }
      } catch (const PlanError& error) {
        // The heuristic proposes, now and then, what then says that it is unsupported.
        if (error.kind() != PlanError::Kind::unsupported) throw;
      }
    }
    product->algorithm = candidates[best].algo;
    product->workspace = candidates[best].workspaceSize;
    product->chosen.library = "cuBLASLt " + lt_->versionText();
    product->chosen.engine =
        "algorithm " + std::to_string(best + 1) + " of " + std::to_string(candidates.size());
    product->chosen.notes = problem.type == DataType::f32 && problem.tf32 ? "TF32" : "";
    product->chosen.milliseconds = bestTime < kNoTime ? bestTime : -1;
    product->chosen.candidates = static_cast<int>(candidates.size());
    // Where there was no time left to choose, the next process may have it.
    if (!hurried) disk_.store(key, {product->chosen, product->workspace, hexOf(product->algorithm)});
    return product;
  }

  std::shared_ptr<const CublasLt> lt_;
  cublasLtHandle_t handle_ = nullptr;
  std::string device_;
  Timing* timing_;
  PlanCache disk_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Product>> chosen_;
};

// Refuses every problem with one reason.
class NoProducts : public Plans {
 public:
  explicit NoProducts(std::string reason) : reason_(std::move(reason)) {}
  std::string unsupported(const MatrixProblem&) override { return reason_; }
  std::string unsupported(const ConvolutionProblem&) override { return reason_; }
  std::string unsupported(const NormalizationProblem&) override { return reason_; }
  std::string unsupported(const PoolingProblem&) override { return reason_; }
  std::unique_ptr<Plan> plan(const MatrixProblem&) override { refuse(); }
  std::unique_ptr<Plan> plan(const ConvolutionProblem&) override { refuse(); }
  std::unique_ptr<Plan> plan(const NormalizationProblem&) override { refuse(); }
  std::unique_ptr<Plan> plan(const PoolingProblem&) override { refuse(); }

 private:
  [[noreturn]] void refuse() const { throw PlanError(PlanError::Kind::unsupported, reason_); }
  std::string reason_;
};

}  // namespace

std::unique_ptr<Plans> openProducts(const std::string& device, Timing* timing,
                                    const std::string& cacheFolder) {
  try {
    return std::make_unique<Products>(openCublasLt(), device, timing, cacheFolder);
  } catch (const PlanError& error) {
    return std::make_unique<NoProducts>(error.what());
  }
}

}  // namespace dw::cuda
