// A descriptor of cuDNN's graph API that is destroyed with its owner, and its attributes with C++ types.
#ifndef DEPTHWISE_CUDNN_DESCRIPTOR_H
#define DEPTHWISE_CUDNN_DESCRIPTOR_H

#include <string>
#include <utility>
#include <vector>

#include "library.h"

namespace dw::cuda {

// The tag that cuDNN wants beside a value of type T.
template <class T>
struct AttributeTag;
#define DW_ATTRIBUTE_TAG(type, tag)                           \
  template <>                                                 \
  struct AttributeTag<type> {                                 \
    static constexpr cudnnBackendAttributeType_t value = tag; \
  };
DW_ATTRIBUTE_TAG(cudnnHandle_t, CUDNN_TYPE_HANDLE)
DW_ATTRIBUTE_TAG(cudnnDataType_t, CUDNN_TYPE_DATA_TYPE)
DW_ATTRIBUTE_TAG(bool, CUDNN_TYPE_BOOLEAN)
DW_ATTRIBUTE_TAG(char, CUDNN_TYPE_CHAR)
DW_ATTRIBUTE_TAG(int64_t, CUDNN_TYPE_INT64)
DW_ATTRIBUTE_TAG(float, CUDNN_TYPE_FLOAT)
DW_ATTRIBUTE_TAG(double, CUDNN_TYPE_DOUBLE)
DW_ATTRIBUTE_TAG(void*, CUDNN_TYPE_VOID_PTR)
DW_ATTRIBUTE_TAG(cudnnConvolutionMode_t, CUDNN_TYPE_CONVOLUTION_MODE)
DW_ATTRIBUTE_TAG(cudnnBackendHeurMode_t, CUDNN_TYPE_HEUR_MODE)
DW_ATTRIBUTE_TAG(cudnnBackendKnobType_t, CUDNN_TYPE_KNOB_TYPE)
DW_ATTRIBUTE_TAG(cudnnBackendNumericalNote_t, CUDNN_TYPE_NUMERICAL_NOTE)
DW_ATTRIBUTE_TAG(cudnnBackendBehaviorNote_t, CUDNN_TYPE_BEHAVIOR_NOTE)
DW_ATTRIBUTE_TAG(cudnnPointwiseMode_t, CUDNN_TYPE_POINTWISE_MODE)
DW_ATTRIBUTE_TAG(cudnnReduceTensorOp_t, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE)
DW_ATTRIBUTE_TAG(cudnnGenStatsMode_t, CUDNN_TYPE_GENSTATS_MODE)
DW_ATTRIBUTE_TAG(cudnnResampleMode_t, CUDNN_TYPE_RESAMPLE_MODE)
DW_ATTRIBUTE_TAG(cudnnPaddingMode_t, CUDNN_TYPE_PADDING_MODE)
DW_ATTRIBUTE_TAG(cudnnBackendNormMode_t, CUDNN_TYPE_NORM_MODE)
DW_ATTRIBUTE_TAG(cudnnBackendNormFwdPhase_t, CUDNN_TYPE_NORM_FWD_PHASE)
#undef DW_ATTRIBUTE_TAG

class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type) : cudnn_(&cudnn) {
    cudnn.check(cudnn.cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor");
  }
  Descriptor(Descriptor&& other) noexcept : cudnn_(other.cudnn_), raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(cudnn_, other.cudnn_);
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor() {
    if (raw_ != nullptr) cudnn_->cudnnBackendDestroyDescriptor(raw_);
  }

  explicit operator bool() const { return raw_ != nullptr; }
  cudnnBackendDescriptor_t raw() const { return raw_; }

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return setMany(name, AttributeTag<T>::value, 1, &value);
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<T>& values) {
    return setMany(name, AttributeTag<T>::value, static_cast<int64_t>(values.size()), values.data());
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    return setMany(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.raw_);
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const std::string& text) {
    return setMany(name, CUDNN_TYPE_CHAR, static_cast<int64_t>(text.size()), text.data());
  }
  Descriptor& setDescriptors(cudnnBackendAttributeName_t name,
                             const std::vector<cudnnBackendDescriptor_t>& values) {
    return setMany(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(values.size()), values.data());
  }

  Descriptor& finalize() {
    cudnn_->check(cudnn_->cudnnBackendFinalize(raw_), "cudnnBackendFinalize");
    return *this;
  }

  template <class T>
  T get(cudnnBackendAttributeName_t name) const {
    T value{};
    int64_t count = 0;
    getMany(name, AttributeTag<T>::value, 1, &count, &value);
    return value;
  }
  // All values of an attribute; none where the descriptor has no such attribute.
  template <class T>
  std::vector<T> getAll(cudnnBackendAttributeName_t name) const {
    int64_t count = 0;
    const auto tag = AttributeTag<T>::value;
    if (cudnn_->cudnnBackendGetAttribute(raw_, name, tag, 0, &count, nullptr) != CUDNN_STATUS_SUCCESS)
      return {};
    std::vector<T> values(static_cast<size_t>(count));
    if (count > 0) getMany(name, tag, count, &count, values.data());
    values.resize(static_cast<size_t>(count));
    return values;
  }
  // The one descriptor that is an attribute.
  Descriptor getDescriptor(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type) const {
    Descriptor found(*cudnn_, type);
    int64_t count = 0;
    getMany(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &found.raw_);
    return found;
  }
  // All descriptors that are an attribute; at most `capacity` where the attribute does not tell its own
  // number.
  std::vector<Descriptor> getDescriptors(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                         int64_t capacity = 0) const {
    int64_t count = capacity;
    if (capacity == 0) getMany(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr);
    std::vector<Descriptor> found;
    std::vector<cudnnBackendDescriptor_t> raw;
    for (int64_t i = 0; i < count; i++) {
      found.emplace_back(*cudnn_, type);
      raw.push_back(found.back().raw_);
    }
    if (count > 0) getMany(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, raw.data());
    found.resize(static_cast<size_t>(count));
    return found;
  }

 private:
  Descriptor& setMany(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                      const void* values) {
    cudnn_->check(cudnn_->cudnnBackendSetAttribute(raw_, name, type, count, values),
                  "cudnnBackendSetAttribute");
    return *this;
  }
  void getMany(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t requested,
               int64_t* count, void* values) const {
    cudnn_->check(cudnn_->cudnnBackendGetAttribute(raw_, name, type, requested, count, values),
                  "cudnnBackendGetAttribute");
  }

  const Cudnn* cudnn_ = nullptr;
  cudnnBackendDescriptor_t raw_ = nullptr;
};

}  // namespace dw::cuda

#endif
